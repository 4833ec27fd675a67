"""Tokens of sessions and API clients in the database: hashes, timeouts, time of the last use."""

from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

import structlog
from flask import current_app
from sqlalchemy import ColumnElement, Update, or_
from sqlalchemy.exc import SQLAlchemyError

from ...config import get_settings
from ..database import utcnow

# Seconds between two writes of the time of the last use.
SEEN_INTERVAL = 60

# Execution option of a statement that changes rows of one user only: the user's ID, or `NO_USER` if
# sessions and tokens stay as they are. Without it a statement may concern all users.
USER_ID = "user_id"
NO_USER = 0

MAX_ID_DIGITS = 20


def create_token(user_id: int, prefix: str = "") -> str:
    """Return a random token, which names its user."""
    return f"{prefix}{user_id}_{token_urlsafe(32)}"


def get_user_id(token: str) -> int:
    """Return the ID of the user whom a token names; 0 if it names none."""
    first, _, rest = token.partition("_")
    user_id = first if first.isdecimal() else rest.partition("_")[0]
    return int(user_id) if user_id.isdecimal() and len(user_id) < MAX_ID_DIGITS else 0


def hash_token(token: str) -> str:
    """Return the hash of a random token; it needs no salt."""
    return sha256(token.encode()).hexdigest()


def earliest_times() -> tuple[datetime, datetime]:
    """Return when a session must have been created, and when it must have been used."""
    settings = get_settings()
    now = utcnow()
    return (
        now - timedelta(seconds=settings.SESSION_TIMEOUT),
        now - timedelta(seconds=settings.SESSION_IDLE_TIMEOUT),
    )


def has_expired(created_at: datetime, seen_at: datetime) -> bool:
    """Return whether a session has reached one of its timeouts."""
    created_after, seen_after = earliest_times()
    return created_at < created_after or seen_at < seen_after


def expired_rows(model: Any) -> ColumnElement[bool]:
    """Return the condition for the rows of sessions that have reached one of their timeouts."""
    created_after, seen_after = earliest_times()
    return or_(model.created_at < created_after, model.seen_at < seen_after)


def old_rows(model: Any) -> ColumnElement[bool]:
    """Return the condition for sessions older than SESSION_TIMEOUT, which an index finds.

    Those that reach the idle timeout earlier are deleted by the next login of their user, or when
    they are as old.
    """
    is_old: ColumnElement[bool] = model.created_at < earliest_times()[0]
    return is_old


def needs_update(last_use: datetime | None) -> bool:
    """Return whether the time of the last use must be stored again."""
    interval = min(SEEN_INTERVAL, get_settings().SESSION_IDLE_TIMEOUT / 10)
    return last_use is None or utcnow() - last_use > timedelta(seconds=interval)


def store_last_use(statement: Update, name: str) -> None:
    """Store the time of the request; a database that is read-only or busy does not matter."""
    try:
        with current_app.extensions["database"].begin() as database:
            database.execute(statement, execution_options={USER_ID: NO_USER})
    except SQLAlchemyError as error:
        structlog.get_logger().warning(f"{name} not updated", error=type(error).__name__)
