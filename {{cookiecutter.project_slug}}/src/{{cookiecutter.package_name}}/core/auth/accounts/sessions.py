"""Sessions of users: the cookie has a random token, the table has what it stands for."""

from datetime import datetime

from flask import current_app, request, session
from msgspec import Struct
from sqlalchemy import ColumnElement, bindparam, delete, select, update
from werkzeug.exceptions import Forbidden

from ....permissions import permissions_of
from ...database import get_session, utcnow
from .. import audit
from ..identity import Identity
from ..sessions import start as start_session
from ..stored_tokens import (
    USER_ID,
    create_token,
    expired_rows,
    get_user_id,
    has_expired,
    hash_token,
    needs_update,
    store_last_use,
)
from ..token_lookup import find_session, load_session
from .models import User, UserRole, UserSession

# Key of the token in Flask's session.
TOKEN = "token"  # noqa: S105 - it is the name

STATEMENT = (
    select(
        UserSession.id,
        UserSession.user_id,
        User.email,
        UserSession.created_at,
        UserSession.seen_at,
        UserSession.authenticated_at,
        UserRole.role,
    )
    .join(User, User.id == UserSession.user_id)
    .outerjoin(UserRole, UserRole.user_id == User.id)
    .where(
        UserSession.token_hash == bindparam("token_hash"),
        User.disabled_at.is_(None),
    )
)


class CurrentSession(Struct, frozen=True, array_like=True):
    """The session of the request, with its user."""

    id: int
    user_id: int
    email: str
    roles: list[str]
    created_at: datetime
    seen_at: datetime
    authenticated_at: datetime


def load_identity() -> Identity | None:
    """Return the identity of the request's session."""
    if not (token := session.get(TOKEN)):
        return None
    current: CurrentSession | None = load_session(token, CurrentSession, read)
    if current is None:
        return None
    return Identity(str(current.user_id), current.email, permissions_of(current.roles))


def read(token: str) -> CurrentSession | None:
    """Return the session of a token with one query, and store that it is in use."""
    # A session of its own: a view's transaction starts when the view uses the database.
    with current_app.extensions["database"]() as database:
        rows = database.execute(STATEMENT, {"token_hash": hash_token(token)}).all()
    if not rows or has_expired(rows[0].created_at, rows[0].seen_at):
        return None
    *values, seen_at, authenticated_at, _ = rows[0]
    if needs_update(seen_at):
        seen_at = utcnow()
        statement = update(UserSession).where(UserSession.id == rows[0].id).values(seen_at=seen_at)
        store_last_use(statement, "session")
    session_id, user_id, email, created_at = values
    roles = [row.role for row in rows if row.role]
    return CurrentSession(session_id, user_id, email, roles, created_at, seen_at, authenticated_at)


def start(user: User) -> None:
    """Log the user in with a new token: an attacker may have planted the old one (fixation)."""
    if old_token := session.get(TOKEN):
        # It may be one of another user.
        delete_where(get_user_id(old_token), UserSession.token_hash == hash_token(old_token))
    delete_expired(user.id)
    token = create_token(user.id)
    start_session(**{TOKEN: token})
    row = UserSession(
        user_id=user.id,
        token_hash=hash_token(token),
        address=request.remote_addr or "",
        user_agent=request.user_agent.string[:200],
    )
    get_session().add(row)


def get_current() -> CurrentSession:
    """Return the session of the request; respond with 403 to a request with a token instead."""
    current: CurrentSession | None = find_session()
    if current is None:
        raise Forbidden("This needs a login in a browser, not a token.")
    return current


def renew() -> None:
    """Note that the user has entered a credential, and give the session another token."""
    current = get_current()
    session[TOKEN] = token = create_token(current.user_id)
    values = {"authenticated_at": utcnow(), "token_hash": hash_token(token)}
    get_session().execute(
        update(UserSession).where(UserSession.id == current.id).values(values),
        execution_options={USER_ID: current.user_id},
    )


def end() -> None:
    """Log out: the token is not valid any more, wherever it is stored."""
    current = get_current()
    delete_where(current.user_id, UserSession.id == current.id)
    session.clear()


def revoke(session_id: int, user_id: int) -> bool:
    """Log a user out in another browser; return whether there was such a session."""
    return delete_where(user_id, UserSession.id == session_id) > 0


def revoke_all(user_id: int, except_id: int = 0) -> int:
    """Log a user out everywhere; return the number of sessions."""
    return delete_where(user_id, UserSession.id != except_id)


def list_of(user_id: int) -> list[UserSession]:
    """Return the sessions of a user, the last used one first."""
    delete_expired(user_id)
    statement = (
        select(UserSession)
        .where(UserSession.user_id == user_id)
        .order_by(UserSession.seen_at.desc(), UserSession.id.desc())
    )
    return [*get_session().scalars(statement)]


def delete_expired(user_id: int) -> None:
    """Delete the sessions of a user that have reached one of their timeouts."""
    delete_where(user_id, expired_rows(UserSession))


def delete_where(user_id: int, condition: ColumnElement[bool]) -> int:
    """Delete sessions of a user in the transaction of the request; return their number."""
    statement = delete(UserSession).where(UserSession.user_id == user_id, condition)
    result = get_session().execute(statement, execution_options={USER_ID: user_id})
    return int(result.rowcount)  # type: ignore[attr-defined]


def record_revoked(count: int, user_id: int) -> None:
    """Record that sessions of a user were revoked."""
    if count:
        audit.record("session_revoked", subject=str(user_id), sessions=str(count))
