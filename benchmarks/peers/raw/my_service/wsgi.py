"""What a server can do at most: WSGI without a framework."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

BODY = b'{"message":"It runs.","numbers":[1,2,3]}'


def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a small JSON."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]
