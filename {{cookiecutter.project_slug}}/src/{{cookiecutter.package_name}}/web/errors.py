"""Error pages for clients that prefer HTML to JSON."""

from flask import Flask, Response, render_template
from werkzeug.exceptions import HTTPException

from ..core import errors
from ..core.media_types import prefers_html


def init_app(app: Flask) -> None:
    """Replace the error handler of `core`, which always responds with JSON."""
    app.register_error_handler(HTTPException, handle_http_exception)


def handle_http_exception(error: HTTPException) -> Response:
    """Respond with a page or with problem details, depending on the `Accept` header."""
    response = errors.handle_http_exception(error)
    if prefers_html():
        response.data = render_template("error.html", problem=errors.to_problem(error))
        response.content_type = "text/html; charset=utf-8"
    response.vary.add("Accept")
    return response
