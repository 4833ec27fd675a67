"""The session of a request or a command."""

from flask import current_app, g
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session


def get_session() -> Session:
    """Return the session of the application context; it is opened on first use."""
    if "session" not in g:
        g.session = current_app.extensions["database"]()
    session: Session = g.session
    return session


def close_session(_: BaseException | None = None) -> None:
    """Roll back uncommitted changes and return the connection to the pool."""
    if "session" in g:
        session = g.pop("session")
        try:
            session.close()
        except OperationalError:
            # The connection was lost after the response was built: nothing is left to roll back.
            session.invalidate()
