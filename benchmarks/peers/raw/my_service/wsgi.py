"""WSGI without a framework: the maximum throughput of a server."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

BODY = b'{"message":"It runs.","numbers":[1,2,3]}'


def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Return a small JSON response."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


# The configuration of gunicorn checks the routes at the start.
app.url_map = Flask(__name__).url_map  # type: ignore[attr-defined]
