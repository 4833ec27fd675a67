"""Logins that wait for the provider: one signed cookie for each, so that tabs do not interfere."""

from hashlib import sha256

import msgspec
from flask import Response, current_app, request
from itsdangerous import BadData
from msgspec import Struct

from ..sessions import cookie_name, cookie_options
from ..signing import get_serializer

PURPOSE = "pending login"
# Seconds that users have for the login at the provider.
MAX_AGE = 600

# Errors for a cookie that is missing, forged, expired, or of another release.
LOAD_ERRORS = (BadData, msgspec.ValidationError)


class PendingLogin(Struct, frozen=True, array_like=True):
    """What the response of the provider must match, and where the user goes then."""

    provider: str
    state: str
    nonce: str
    code_verifier: str
    next: str
    # The user must enter a credential at the provider after this time; 0 if one is not needed.
    fresh_after: int = 0


def save(login: PendingLogin, response: Response) -> None:
    """Set the cookie of a login. The browser sends it with the redirect from the provider."""
    response.set_cookie(
        name_cookie(login.state),
        get_serializer(PURPOSE).dumps(msgspec.to_builtins(login)),
        max_age=MAX_AGE,
        **cookie_options(),
    )


def load(provider: str, state: str) -> PendingLogin | None:
    """Return the login that this browser started with a provider less than `MAX_AGE` ago."""
    cookie = request.cookies.get(name_cookie(state), "")
    try:
        values = get_serializer(PURPOSE).loads(cookie, max_age=MAX_AGE)
        login = msgspec.convert(values, PendingLogin)
    except LOAD_ERRORS:
        return None
    return login if (login.provider, login.state) == (provider, state) else None


def delete(state: str, response: Response) -> None:
    """Delete the cookie of a login."""
    response.delete_cookie(name_cookie(state), **cookie_options())


def name_cookie(state: str) -> str:
    """Return the name of a login's cookie."""
    return cookie_name(current_app, f"session-login-{sha256(state.encode()).hexdigest()[:8]}")
