"""The database: one engine an application, one session a request."""

import os
from datetime import datetime
from types import ModuleType
from typing import Any

import structlog
from flask import Flask, current_app, g
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, MetaData, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from werkzeug.exceptions import ServiceUnavailable

from .. import health
from ..config import SettingsError
from . import (
    commands,
    # {% if cookiecutter.database == "mysql" %}
    mysql,
    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    postgresql,
    # {% endif %}
    sqlite,
    statements,
    types,
)

DIALECTS = {
    # {% if cookiecutter.database == "mysql" %}
    "mysql": mysql,
    "mariadb": mysql,
    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    "postgresql": postgresql,
    # {% endif %}
    "sqlite": sqlite,
}

# What a URL raises that cannot be read, or that names a database or a driver that is not here.
MALFORMED = (ArgumentError, ImportError, KeyError, TypeError, ValueError)


class Base(DeclarativeBase):
    """All models; the names of their constraints are fixed, so that migrations can drop them."""

    type_annotation_map = {datetime: types.UtcDateTime}  # noqa: RUF012 - not changed
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
        engine = DIALECTS[url.get_backend_name()].make_engine(url, app.config)
    except MALFORMED:
        raise SettingsError([f"DATABASE_URL: expected {' or '.join(DIALECTS)}://…"]) from None
    statements.watch(
        engine,
        slow_ms=app.config["DATABASE_SLOW_MS"],
        repeated=app.config["DATABASE_REPEATED"] if app.debug else 0,
    )
    # Connections cannot be shared by processes: a forked child begins with an empty pool.
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    app.extensions["database"] = sessionmaker(engine, expire_on_commit=False)
    app.teardown_appcontext(close)
    app.register_error_handler(OperationalError, respond_unavailable)
    app.register_error_handler(PoolTimeoutError, respond_unavailable)
    app.cli.add_command(commands.db)
    health.add_check(app, "database", lambda: ping(engine))


def partial(condition: str) -> dict[str, Any]:
    """Make `Index(…, **this)` hold only the rows of a condition, where the database can."""
    can = [name for name, dialect in DIALECTS.items() if dialect.HAS_PARTIAL_INDEXES]
    return {f"{name}_where": text(condition) for name in can}


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


def get_dialect() -> ModuleType:
    """Return the module that knows what differs from one database to another."""
    return DIALECTS[get_engine().dialect.name]


def respond_unavailable(error: Exception) -> ResponseReturnValue:
    """Answer 503: the database is gone, too slow or too busy, and will come back."""
    structlog.get_logger().error("database unavailable", error=str(getattr(error, "orig", error)))
    return current_app.handle_http_exception(ServiceUnavailable(retry_after=5))


def close(_: BaseException | None = None) -> None:
    """Roll back what was not committed, and give the connection back."""
    if "session" in g:
        session = g.pop("session")
        try:
            session.close()
        except OperationalError:
            # The connection was lost after the answer was made: there is nothing to roll back.
            session.invalidate()


def ping(engine: Engine) -> None:
    """Raise when the database does not answer, asked on a connection outside of a busy pool."""
    pool = engine.pool.recreate()
    try:
        connection = pool.connect()
        connection.cursor().execute("SELECT 1")
        connection.close()
    finally:
        pool.dispose()
