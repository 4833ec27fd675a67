"""Bodies of requests: one that breaks off is refused, and not taken for a short one."""

from flask import Flask, request
from werkzeug.exceptions import BadRequest, HTTPException, LengthRequired


def init_app(app: Flask) -> None:
    """Look at each request that has a body."""
    app.before_request(demand_whole_body)


def demand_whole_body() -> None:
    """Let Werkzeug count what must have a certain length, and read what tells its end itself."""
    environ = request.environ
    if "HTTP_TRANSFER_ENCODING" in environ:
        if "wsgi.input_terminated" not in environ:
            raise LengthRequired("This server takes no chunked body: send its Content-Length.")
        try:
            request.get_data()
        except HTTPException:
            raise
        except Exception as error:
            # Each server has its own for a chunk that is malformed or missing.
            raise BadRequest("The body is malformed.") from error
    else:
        environ.pop("wsgi.input_terminated", None)
