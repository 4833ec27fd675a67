"""When jobs are sent, with a database: once the transaction that asks for them is committed."""

from collections.abc import Callable

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..database import get_session
from ..database.commits import after_commit, before_commit

# What is worth another attempt of any job.
TRANSIENT = (ConnectionError, TimeoutError, OperationalError, PoolTimeoutError)


def deliver(check: Callable[[], None], send: Callable[[], None]) -> None:
    """Let `check` refuse the commit, and send after it; at once where there is no transaction."""
    session = get_session()
    if session.in_transaction():
        before_commit(session, check)
        after_commit(session, send)
    else:
        send()
