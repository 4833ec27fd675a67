"""Error responses as problem details (RFC 9457), without tracebacks."""

from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, UnprocessableEntity


class FieldError(msgspec.Struct):
    """An invalid field of a request; `field` is empty if the whole body is invalid."""

    field: str
    message: str


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every error response of the API."""

    title: str
    status: int
    detail: str = ""
    request_id: str = ""
    errors: list[FieldError] = []


class UnprocessableContent(UnprocessableEntity):
    """422 (RFC 9110, section 15.5.21) with a list of all invalid fields."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("The request has invalid fields, which `errors` lists.")
        self.errors = [*errors]


def init_app(app: Flask) -> None:
    """Return problem details for every error, including unexpected exceptions."""
    app.register_error_handler(HTTPException, handle_http_exception)


def handle_http_exception(error: HTTPException) -> Response:
    """Return the response of an error; it keeps headers such as `Allow` and `Retry-After`."""
    response: Any = error.get_response()
    response.data = msgspec.json.encode(to_problem(error))
    response.content_type = "application/problem+json"
    return response  # type: ignore[no-any-return]


def to_problem(error: HTTPException) -> Problem:
    """Return the problem details of an error, with the request ID under which the log has more."""
    return Problem(
        title=error.name,
        status=error.code or 500,
        detail=error.description or "",
        request_id=request.headers.get("X-Request-ID", ""),
        errors=getattr(error, "errors", []),
    )
