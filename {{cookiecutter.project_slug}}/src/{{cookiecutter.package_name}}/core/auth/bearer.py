"""Tokens in the header `Authorization: Bearer …` of requests (RFC 6750)."""

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized


def get_bearer_token() -> str | None:
    """Return the token in `Authorization: Bearer …`; None if the request has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def unauthorized(description: str, **parameters: str) -> Unauthorized:
    """Return the exception for 401 with its challenge.

    Without a token in the request the challenge has no `error` (section 3.1).
    """
    challenge = WWWAuthenticate("bearer", {"realm": current_app.name, **parameters})
    return Unauthorized(description, www_authenticate=challenge)


def invalid_token() -> Unauthorized:
    """Return the exception for a token that is not valid."""
    return unauthorized("The token is not valid.", error="invalid_token")
