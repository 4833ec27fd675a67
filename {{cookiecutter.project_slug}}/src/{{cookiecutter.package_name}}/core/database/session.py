"""The session of a request or a command."""

from flask import current_app, g
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session


def get_session() -> Session:
    """Return the session of the application context; it is opened on first use."""
    session: Session | None = g.get("session")
    if session is None:
        session = g.session = current_app.extensions["database"]()
    return session


def close_session(_: BaseException | None = None) -> None:
    """Roll back uncommitted changes and return the connection to the pool."""
    session: Session | None = g.pop("session", None)
    if session is not None:
        try:
            session.close()
        except OperationalError:
            # The connection was lost after the response was built: nothing is left to roll back.
            session.invalidate()
