"""Personal API tokens: scripts send them as `Authorization: Bearer …`."""

from datetime import datetime, timedelta

from flask import current_app
from msgspec import Struct
from sqlalchemy import bindparam, delete, select, update

from ....permissions import PERMISSIONS, permissions_of
from ...database import get_session, utcnow
from ...errors import FieldError, UnprocessableContent
from .. import audit
from ..bearer import get_bearer_token, invalid_token
from ..identity import Identity
from ..stored_tokens import (
    USER_ID,
    create_token,
    hash_token,
    needs_update,
    store_last_use,
)
from ..token_lookup import load
from .models import ApiToken, User, UserRole

# By the prefix people and secret scanners recognize a token.
PREFIX = "pat_"
MAX_TOKENS = 100

STATEMENT = (
    select(
        ApiToken.id,
        ApiToken.user_id,
        ApiToken.scopes,
        ApiToken.expires_at,
        ApiToken.used_at,
        User.email,
        UserRole.role,
    )
    .join(User, User.id == ApiToken.user_id)
    .outerjoin(UserRole, UserRole.user_id == User.id)
    .where(ApiToken.token_hash == bindparam("token_hash"), User.disabled_at.is_(None))
)


class StoredToken(Struct, frozen=True, array_like=True):
    """A token that is not expired, with its user."""

    user_id: int
    email: str
    roles: list[str]
    scopes: str
    expires_at: datetime


def load_identity() -> Identity | None:
    """Return the identity of the request's token; None if the request has none.

    Raise `Unauthorized` for a token that is unknown, expired or revoked. The identity has the
    permissions that both the token's scopes and the user's roles include.
    """
    token = get_bearer_token()
    if token is None:
        return None
    found: StoredToken | None = load(token, StoredToken, read)
    if found is None or found.expires_at <= utcnow():
        audit.record("token_rejected")
        raise invalid_token()
    permissions = permissions_of(found.roles).intersection(found.scopes.split())
    return Identity(str(found.user_id), found.email, permissions)


def read(token: str) -> StoredToken | None:
    """Return a token with one query, and store that it is in use."""
    with current_app.extensions["database"]() as database:
        rows = database.execute(STATEMENT, {"token_hash": hash_token(token)}).all()
    if not rows or rows[0].expires_at <= utcnow():
        return None
    row = rows[0]
    if needs_update(row.used_at):
        statement = update(ApiToken).where(ApiToken.id == row.id).values(used_at=utcnow())
        store_last_use(statement, "token")
    roles = [row.role for row in rows if row.role]
    return StoredToken(row.user_id, row.email, roles, row.scopes, row.expires_at)


def create(user_id: int, name: str, scopes: list[str], days: int) -> tuple[ApiToken, str]:
    """Create a token; return its row and its text, which is stored nowhere."""
    if unknown := set(scopes) - PERMISSIONS:
        message = f"There is no permission {' or '.join(sorted(unknown))}"
        raise UnprocessableContent(FieldError("scopes", message))
    session = get_session()
    if len(list_of(user_id)) >= MAX_TOKENS:
        raise UnprocessableContent(FieldError("name", "There are too many tokens: revoke some"))
    token = create_token(user_id, PREFIX)
    row = ApiToken(
        user_id=user_id,
        name=name,
        token_hash=hash_token(token),
        scopes=" ".join(sorted(set(scopes))),
        expires_at=utcnow() + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    audit.record("token_created", subject=str(user_id), token=str(row.id), scopes=scopes)
    session.commit()
    return row, token


def list_of(user_id: int) -> list[ApiToken]:
    """Return the tokens of a user, the newest first; delete those that have expired."""
    session = get_session()
    session.execute(
        delete(ApiToken).where(ApiToken.user_id == user_id, ApiToken.expires_at <= utcnow()),
        execution_options={USER_ID: user_id},
    )
    statement = select(ApiToken).where(ApiToken.user_id == user_id).order_by(ApiToken.id.desc())
    return [*session.scalars(statement)]


def revoke(token_id: int, user_id: int) -> bool:
    """Delete a token; return whether there was such a token of the user."""
    statement = delete(ApiToken).where(ApiToken.id == token_id, ApiToken.user_id == user_id)
    result = get_session().execute(statement, execution_options={USER_ID: user_id})
    found = bool(result.rowcount)  # type: ignore[attr-defined]
    get_session().commit()
    if found:
        audit.record("token_revoked", token=str(token_id))
    return found
