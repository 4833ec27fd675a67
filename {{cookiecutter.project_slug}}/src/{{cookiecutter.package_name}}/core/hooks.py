"""Functions before and after each request that get the environment of the request.

Flask calls its functions without it, and each `flask.request` in them takes about 1 % of the time
of a small response.
"""

from collections.abc import Callable
from typing import NamedTuple, cast
from wsgiref.types import WSGIEnvironment

from flask import Flask, Request, Response, request
from werkzeug.local import LocalProxy

# Not private: Werkzeug documents this method, for code that uses the object more than once.
get_request: Callable[[], Request] = cast("LocalProxy[Request]", request)._get_current_object

Before = Callable[[WSGIEnvironment], None]
After = Callable[[Response, WSGIEnvironment], Response]


class Hooks(NamedTuple):
    """Functions in the order of their calls."""

    before: list[Before]
    after: list[After]


def init_app(app: Flask) -> None:
    """Let Flask call the functions that `before_request` and `after_request` add."""
    before, after = app.extensions["hooks"] = Hooks([], [])

    @app.before_request
    def call_before() -> None:
        environ = get_request().environ
        for function in before:
            function(environ)

    @app.after_request
    def call_after(response: Response) -> Response:
        environ = get_request().environ
        for function in after:
            response = function(response, environ)
        return response


def before_request(app: Flask, function: Before) -> None:
    """Call a function before each request, after those that were added earlier."""
    app.extensions["hooks"].before.append(function)


def after_request(app: Flask, function: After) -> None:
    """Call a function after each request, before those that were added earlier, as Flask does."""
    app.extensions["hooks"].after.insert(0, function)
