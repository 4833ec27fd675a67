"""Errors as problem details (RFC 9457): what a client can use, and never a traceback."""

from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, UnprocessableEntity


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every error of the API."""

    title: str
    status: int
    detail: str = ""
    request_id: str = ""
    errors: list[dict[str, str]] = []


class InvalidInput(UnprocessableEntity):
    """422 that names every field that is wrong, as `{"field": …, "problem": …}`."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("The request holds values that are not allowed; `errors` names them.")
        self.errors = errors


def init_app(app: Flask) -> None:
    """Answer every error, an unexpected one too, with a problem."""
    app.register_error_handler(HTTPException, respond)


def respond(error: HTTPException) -> Response:
    """Turn an error into its response; headers such as `Allow` and `Retry-After` are kept."""
    response: Any = error.get_response()
    response.data = msgspec.json.encode(describe(error))
    response.content_type = "application/problem+json"
    return response  # type: ignore[no-any-return]


def describe(error: HTTPException) -> Problem:
    """Say what went wrong, and under which id the log knows more."""
    return Problem(
        title=error.name,
        status=error.code or 500,
        detail=error.description or "",
        request_id=request.headers.get("X-Request-ID", ""),
        errors=getattr(error, "errors", []),
    )
