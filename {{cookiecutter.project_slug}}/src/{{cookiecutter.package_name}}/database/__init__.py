"""The database: one engine an application, one session a request."""

from flask import Flask, current_app, g
from sqlalchemy import Engine, MetaData, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from .. import health
from ..config import SettingsError
from . import (
    commands,
    # {% if cookiecutter.database == "postgresql" %}
    postgresql,
    # {% endif %}
    sqlite,
)

DIALECTS = {
    # {% if cookiecutter.database == "postgresql" %}
    "postgresql": postgresql,
    # {% endif %}
    "sqlite": sqlite,
}
# What SQLAlchemy raises for a URL that it cannot read, and we for one of another database.
MALFORMED = (ArgumentError, KeyError, ValueError)


class Base(DeclarativeBase):
    """All models; the names of their constraints are fixed, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        },
    )


def init_app(app: Flask) -> None:
    """Make the engine, which connects when it is first used."""
    try:
        url = make_url(app.config["DATABASE_URL"])
        dialect = DIALECTS[url.get_backend_name()]
    except MALFORMED:
        raise SettingsError([f"DATABASE_URL: expected {' or '.join(DIALECTS)}://…"]) from None
    engine = dialect.make_engine(url, app.config)
    app.extensions["database"] = sessionmaker(engine, expire_on_commit=False)
    app.teardown_appcontext(close)
    app.cli.add_command(commands.db)
    health.add_check(app, "database", lambda: ping(engine))


def get_engine() -> Engine:
    """Return the current application's engine."""
    engine: Engine = current_app.extensions["database"].kw["bind"]
    return engine


def get_session() -> Session:
    """Return the request's session: opened when first asked for, closed with the request."""
    if "session" not in g:
        g.session = current_app.extensions["database"]()
    session: Session = g.session
    return session


def close(_: BaseException | None = None) -> None:
    """Roll back what was not committed, and give the connection back."""
    if "session" in g:
        g.pop("session").close()


def ping(engine: Engine) -> None:
    """Raise when the database does not answer a query."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
