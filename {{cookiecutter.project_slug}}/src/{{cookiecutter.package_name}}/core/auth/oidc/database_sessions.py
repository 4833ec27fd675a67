"""Sessions of users: the signed cookie has a random token, the table has what it stands for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Flask, current_app, session
from msgspec import Struct
from sqlalchemy import bindparam, delete, select, update

from ....permissions import permissions_of
from ...database import get_session, utcnow
from .. import (
    # {% if cookiecutter.__identity_cache %}
    identity_cache,
    # {% endif %}
    retention,
    sessions,
)
from ..identity import Identity
from ..stored_tokens import (
    USER_ID,
    create_token,
    expired_rows,
    get_user_id,
    has_expired,
    hash_token,
    needs_update,
    old_rows,
    store_last_use,
)
from ..token_lookup import find_session, load_session
from .providers import Provider, get_auth_time
from .users import User, UserSession, provision, users

TOKEN = "token"  # noqa: S105 - it is the name

STATEMENT = (
    select(
        User.id,
        User.name,
        User.roles,
        User.provider,
        UserSession.created_at,
        UserSession.seen_at,
        UserSession.authenticated_at,
    )
    .join(User, User.id == UserSession.user_id)
    .where(UserSession.token_hash == bindparam("token_hash"), User.disabled_at.is_(None))
)


def init_app(app: Flask) -> None:
    """Add the command `flask users`."""
    app.cli.add_command(users)
    retention.OLD_ROWS[UserSession] = lambda: old_rows(UserSession)
    # {% if cookiecutter.__identity_cache %}
    identity_cache.init_app(app, {User: "id", UserSession: "user_id"})
    # {% endif %}


def start(provider: Provider, claims: Mapping[str, Any], name: str, id_token: str) -> str:
    """Start the session of a user, who is added on the first login; return the ID of the user.

    Raise `LoginError` if the user is disabled.
    """
    user = provision(provider, claims, name)
    database = get_session()
    delete_expired(user.id)
    token = create_token(user.id)
    row = UserSession(
        token_hash=hash_token(token),
        user_id=user.id,
        id_token=id_token,
        authenticated_at=get_auth_time(claims),
    )
    database.add(row)
    database.commit()
    end()
    sessions.start(**{TOKEN: token})
    return str(user.id)


class CurrentSession(Struct, frozen=True, array_like=True):
    """The session of the request, with its user."""

    user_id: int
    name: str
    roles: list[str]
    provider: str
    created_at: datetime
    seen_at: datetime
    authenticated_at: int


def load_identity() -> Identity | None:
    """Return the identity of the request's session; a request without a cookie costs nothing."""
    if not (token := session.get(TOKEN)):
        return None
    current: CurrentSession | None = load_session(token, CurrentSession, read)
    if current is None:
        return None
    return Identity(str(current.user_id), current.name, permissions_of(current.roles))


def read(token: str) -> CurrentSession | None:
    """Return the session of a token with one query, and store that it is in use."""
    key = hash_token(token)
    # A session of its own: a view's transaction starts when the view uses the database.
    with current_app.extensions["database"]() as database:
        row = database.execute(STATEMENT, {"token_hash": key}).one_or_none()
    if row is None or has_expired(row.created_at, row.seen_at):
        return None
    seen_at = row.seen_at
    if needs_update(seen_at):
        seen_at = utcnow()
        found = UserSession.token_hash == key
        store_last_use(update(UserSession).where(found).values(seen_at=seen_at), "session")
    return CurrentSession(
        row.id, row.name, row.roles, row.provider, row.created_at, seen_at, row.authenticated_at
    )


def find_login() -> CurrentSession | None:
    """Return the session of the request; None if it has none."""
    current: CurrentSession | None = find_session()
    return current


def end() -> tuple[str, str]:
    """End the session; return the name of its provider and the ID token, or empty texts."""
    token = session.get(TOKEN)
    session.clear()
    if not token:
        return "", ""
    database = get_session()
    found = UserSession.token_hash == hash_token(token)
    row = database.execute(
        select(User.provider, UserSession.id_token)
        .join(User, User.id == UserSession.user_id)
        .where(found)
    ).one_or_none()
    database.execute(
        delete(UserSession).where(found), execution_options={USER_ID: get_user_id(token)}
    )
    database.commit()
    return (row.provider, row.id_token) if row else ("", "")


def delete_expired(user_id: int) -> None:
    """Delete the sessions of a user that have reached one of their timeouts."""
    statement = delete(UserSession).where(UserSession.user_id == user_id, expired_rows(UserSession))
    get_session().execute(statement, execution_options={USER_ID: user_id})
