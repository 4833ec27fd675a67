"""Sessions of users: the identity is in the signed cookie."""

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

import msgspec
from flask import Flask, current_app, session

from ....permissions import ROLES, permissions_of
from .. import sessions
from ..identity import Identity
# {% if cookiecutter.__cache %}
from . import revocation
# {% endif %}
from .providers import LoginError, Provider, get_auth_time

USER = "user"
# Browsers ignore a cookie with more than 4,096 bytes. The rest is for your values in the session.
MAX_SIZE = 3500


class SessionUser(msgspec.Struct, array_like=True):
    """What a session has about its user."""

    session_id: str
    id: str
    name: str
    roles: list[str]
    provider: str
    id_token: str = ""
    authenticated_at: int = 0


def init_app(_: Flask) -> None:
    """Add nothing: users are not stored."""


def start(provider: Provider, claims: Mapping[str, Any], name: str, id_token: str) -> str:
    """Start the session of a user; return the ID of the user.

    Raise `LoginError` if it does not fit in a cookie.
    """
    user = SessionUser(
        session_id=token_hex(16),
        # A subject is unique within its provider.
        id=f"{provider.name}:{claims['sub']}",
        name=name,
        # The claim may have hundreds of groups; the others grant nothing.
        roles=[role for role in provider.get_roles(claims) if role in ROLES],
        provider=provider.name,
        id_token=id_token,
        authenticated_at=get_auth_time(claims),
    )
    if size_of(user) > MAX_SIZE:
        # Logout at the provider goes without it.
        user.id_token = ""
        if size_of(user) > MAX_SIZE:
            raise LoginError("session_too_large")
    end()
    sessions.start(**{USER: msgspec.to_builtins(user)})
    return user.id


def size_of(user: SessionUser) -> int:
    """Return the size in bytes of a cookie for a user."""
    interface: Any = current_app.session_interface
    serializer = interface.get_signing_serializer(current_app)
    return len(serializer.dumps({USER: msgspec.to_builtins(user)}))


def load_user() -> SessionUser | None:
    """Return the user of the request's session."""
    values = session.get(USER)
    try:
        return msgspec.convert(values, SessionUser) if values else None
    except msgspec.ValidationError:
        # Another release has written it.
        return None


find_login = load_user


def load_identity() -> Identity | None:
    """Return the identity in the request's session, unless it has been revoked."""
    user = load_user()
    if user is None:
        return None
    # {% if cookiecutter.__cache %}
    if revocation.is_revoked(user.session_id):
        return None
    # {% endif %}
    return Identity(user.id, user.name, permissions_of(user.roles))


def end() -> tuple[str, str]:
    """End the session; return the name of its provider and the ID token, or empty texts."""
    user = load_user()
    session.clear()
    if user is None:
        return "", ""
    # {% if cookiecutter.__cache %}
    revocation.revoke(user.session_id)
    # {% endif %}
    return user.provider, user.id_token
