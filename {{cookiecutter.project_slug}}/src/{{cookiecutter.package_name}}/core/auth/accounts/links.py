"""Links in mails: signed tokens that expire, and that are valid once."""

from hashlib import sha256
from typing import Literal

from flask import current_app, has_request_context, request
from itsdangerous import BadData

from ....config import get_settings
from ...database import get_session
from ...errors import FieldError, UnprocessableContent
from ..signing import get_serializer
from .models import User

Purpose = Literal["confirm", "reset-password", "change-address"]

# Seconds for which a link is valid.
MAX_AGES: dict[Purpose, int] = {
    "confirm": 3 * 24 * 3600,
    "reset-password": 3600,
    "change-address": 24 * 3600,
}


def base_url() -> str:
    """Return the URL below which links in mails are.

    It is ACCOUNT_LINKS_URL, by default the host of the request, which ALLOWED_HOSTS has validated.
    """
    settings = get_settings()
    if settings.ACCOUNT_LINKS_URL:
        return settings.ACCOUNT_LINKS_URL
    if has_request_context():
        return f"{request.url_root}account"
    host = settings.ALLOWED_HOSTS[0].removeprefix(".")
    # In debug mode, `make run` serves on its default port.
    site = f"http://{host}:8000" if current_app.debug else f"https://{host}"
    return f"{site}{settings.URL_PREFIX}/account"


def create_token(purpose: Purpose, user: User, new_email: str = "") -> str:
    """Return a token for one purpose, which is valid until the user's credentials change."""
    return get_serializer(f"account {purpose}").dumps([user.id, new_email, fingerprint(user)])


def verify_token(purpose: Purpose, token: str) -> tuple[User, str]:
    """Return the user of a token, and the new address; raise the error for 422 if it is not valid.

    The user's row is locked, so that of two requests with one token the second one fails.
    """
    try:
        payload = get_serializer(f"account {purpose}").loads(token, max_age=MAX_AGES[purpose])
        user_id, new_email, state = payload
    except BadData:
        raise invalid_token() from None
    user = get_session().get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None or user.disabled_at or state != fingerprint(user):
        raise invalid_token()
    return user, new_email


def fingerprint(user: User) -> str:
    """Return a value that changes with the user's address and password."""
    return sha256(f"{user.email} {user.password_hash}".encode()).hexdigest()[:16]


def invalid_token() -> UnprocessableContent:
    """Return the error for a token that is forged, expired or used."""
    return UnprocessableContent(
        FieldError("token", "This link is not valid any more. Request a new one.")
    )
