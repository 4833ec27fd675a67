"""Bodies of requests: one that breaks off is refused, and not taken for a short one."""

from typing import IO

from flask import Flask, request
from werkzeug.exceptions import LengthRequired


def init_app(app: Flask) -> None:
    """Look at each request that has a body."""
    app.before_request(demand_whole_body)


def demand_whole_body() -> None:
    """Let Werkzeug count what must have a certain length, and watch what tells its end itself."""
    environ = request.environ
    if "HTTP_TRANSFER_ENCODING" not in environ:
        environ.pop("wsgi.input_terminated", None)
    elif "wsgi.input_terminated" in environ:
        environ["wsgi.input"] = Chunks(environ["wsgi.input"])
    else:
        raise LengthRequired("This server takes no chunked body: send its Content-Length.")


class Chunks:
    """A chunked body, for Werkzeug, which answers 400 to an `OSError`.

    Each server has an error of its own for a chunk that is malformed or missing.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read what is there, at most so many bytes."""
        try:
            return self.stream.read(size)
        except Exception as error:
            raise OSError("The body is malformed.") from error
