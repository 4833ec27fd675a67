"""Deletion of old rows: of security events and, if users log in, of sessions and unconfirmed users.

One of a hundred requests that store a security event deletes some. Each login stores one, so the
tables stay small without a schedule.
"""

from collections.abc import Callable
from random import random
from typing import Any

import structlog
from sqlalchemy import ColumnElement, delete, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from ..database import get_session
# {% if cookiecutter.__users %}
from .stored_tokens import NO_USER, USER_ID
# {% endif %}

SHARE = 0.01
# Rows of a transaction, so that its locks are short.
BATCH = 1000

# The functions that return the condition for the old rows of a model; each has an index for it.
OLD_ROWS: dict[Any, Callable[[], ColumnElement[bool]]] = {}


def delete_sometimes() -> None:
    """Delete old rows of each model in a share of the calls; log an error of the database."""
    if random() >= SHARE:  # noqa: S311 - it is not a secret
        return
    try:
        for model in OLD_ROWS:
            delete_batch(model)
    except SQLAlchemyError as error:
        structlog.get_logger().error("old rows not deleted", error=type(error).__name__)


def delete_batch(model: Any) -> int:
    """Delete at most `BATCH` old rows of a model, and commit; return their number."""
    session = get_session()
    key = inspect(model).primary_key[0]
    is_old = OLD_ROWS[model]()
    keys = session.scalars(select(key).where(is_old).limit(BATCH)).all()
    # The condition again: a user may confirm the address meanwhile.
    statement = delete(model).where(key.in_(keys), is_old)
    # {% if cookiecutter.__users %}
    # Cached identities stay valid: they do not come from these rows.
    statement = statement.execution_options(**{USER_ID: NO_USER})
    # {% endif %}
    count = session.execute(statement).rowcount  # type: ignore[attr-defined]
    session.commit()
    return int(count)
