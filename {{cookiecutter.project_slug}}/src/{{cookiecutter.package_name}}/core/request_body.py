"""Message bodies: reject incomplete request bodies, and abort incomplete responses.

The request bodies that a process holds at the same time have a limit in bytes.
"""

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import IO
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, LengthRequired, ServiceUnavailable

from . import hooks

# Threads never hold so many bytes. With greenlets a thousand slow clients could each have a body in
# memory.
MAX_BYTES_IN_PROGRESS = 16 * 1024 * 1024

RESERVED_BYTES = "{{ cookiecutter.package_name }}.reserved_bytes"
# Whether the body of the response is in memory, so that no chunk of it has to be waited for.
IS_COMPLETE = "{{ cookiecutter.package_name }}.is_complete"


def init_app(app: Flask) -> None:
    """Check the bodies of requests and of streamed responses."""
    app.wsgi_app = budget = BodyBudget(app.wsgi_app)  # type: ignore[method-assign]

    def check_body(environ: WSGIEnvironment) -> None:
        require_complete_body(environ)
        if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
            budget.acquire()

    hooks.before_request(app, check_body)
    hooks.after_request(app, check_stream_length)


def require_complete_body(environ: WSGIEnvironment) -> None:
    """Return 400 for a body that is shorter than its length or has a malformed chunk.

    Werkzeug counts the bytes of a body unless the server declares that it marks the end itself.
    """
    # Some servers join two lengths with a comma. Werkzeug would then see no body at all.
    if not (environ.get("CONTENT_LENGTH") or "0").isdecimal():
        raise BadRequest("Content-Length is not a number.")
    if "HTTP_TRANSFER_ENCODING" not in environ:
        environ.pop("wsgi.input_terminated", None)
    elif "wsgi.input_terminated" in environ:
        environ["wsgi.input"] = ChunkedBody(environ["wsgi.input"])
    else:
        raise LengthRequired("Chunked bodies are not supported: send a Content-Length.")


def check_stream_length(response: Response, environ: WSGIEnvironment) -> Response:
    """Count the bytes of a streamed response that has a `Content-Length`."""
    if not response.is_streamed:
        environ[IS_COMPLETE] = True
        return response
    length = response.content_length
    if length is not None and not response.direct_passthrough:
        if close := getattr(response.response, "close", None):
            response.call_on_close(close)
        response.response = count_bytes(response.iter_encoded(), length)
    return response


def count_bytes(chunks: Iterable[bytes], missing: int) -> Iterator[bytes]:
    """Yield the chunks; raise if they end early, so that the server closes the connection.

    Otherwise some servers leave it open, and the client waits for the missing bytes.
    """
    for chunk in chunks:
        missing -= len(chunk)
        yield chunk
    if missing > 0:
        raise EOFError(f"The body ended {missing} bytes before its Content-Length.")


class BodyBudget:
    """Limit of the bytes in progress; a request that exceeds it gets 503.

    WSGI middleware: the reserved bytes of a request are released when its call ends.
    """

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app
        self.used = 0
        self.lock = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application."""
        try:
            return self.wsgi_app(environ, start_response)
        finally:
            if size := environ.pop(RESERVED_BYTES, 0):
                with self.lock:
                    self.used -= size

    def acquire(self) -> None:
        """Reserve the length of the body, at most MAX_CONTENT_LENGTH.

        A single body may exceed the limit.
        """
        limit = request.max_content_length or 0
        length = request.content_length
        size = limit if length is None else min(length, limit)
        with self.lock:
            if self.used and self.used + size > MAX_BYTES_IN_PROGRESS:
                raise ServiceUnavailable("Too many request bodies: try again.", retry_after=1)
            self.used += size
        request.environ[RESERVED_BYTES] = size


class ChunkedBody:
    """A chunked body whose errors are `OSError`, to which Werkzeug responds with 400.

    Each server raises another exception for a malformed or missing chunk.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        try:
            return self.stream.read(size)
        except Exception as error:
            raise OSError("The body is malformed.") from error
