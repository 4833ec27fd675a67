"""The database: models, sessions and engines of SQLAlchemy."""

import os
from datetime import datetime
from types import ModuleType
from typing import Any

import structlog
from flask import Flask, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Column, Engine, Enum, MetaData, Table, Text, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, sessionmaker
from werkzeug.exceptions import ServiceUnavailable

from ...config import RENAMED, Settings, get_settings, register_client, take_client
# {% if cookiecutter.__metrics %}
from .. import health, monitoring
# {% else %}
from .. import health
# {% endif %}
from . import (
    # {% if cookiecutter.database == "mysql" %}
    mysql,
    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    postgresql,
    # {% endif %}
    query_logging,
    sqlite,
    # {% if cookiecutter.__pooled %}
    timeouts,
    # {% endif %}
)
from .commands import cli_errors, db
from .session import close_session, get_session
from .transaction_hooks import on_commit
from .types import UTCDateTime, utcnow

__all__ = [
    "Base",
    "UTCDateTime",
    "cli_errors",
    "close_session",
    "get_dialect",
    "get_engine",
    "get_session",
    "init_app",
    "on_commit",
    "partial_index",
    # {% if cookiecutter.__pooled %}
    "timeouts",
    # {% endif %}
    "utcnow",
]

RENAMED.update(
    DATABASE_REPEATED="REPEATED_QUERY_THRESHOLD",
    DATABASE_SLOW_MS="SLOW_QUERY_MS",
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


class Base(DeclarativeBase):
    """Base class of all models; named constraints can be dropped by a migration."""

    type_annotation_map = {datetime: UTCDateTime, str: Text}
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        },
    )


@event.listens_for(Column, "before_parent_attach")
def store_enum_as_text(column: Column[Any], table: Table) -> None:
    """Store an enum as VARCHAR: a native enum needs a handwritten migration for a new member."""
    if table.metadata is Base.metadata and type(column.type) is Enum:
        column.type.native_enum = False


def create_engine(name: str, settings: Settings) -> Engine:
    """Create the engine for the URL in a setting."""
    url = make_url(getattr(settings, name))
    # {% if cookiecutter.database == "postgresql" %}
    # Some hosting providers use the older name.
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    # {% endif %}
    engine: Engine = DIALECTS[url.get_backend_name()].create_engine(url, settings)
    return engine


register_client(
    create_engine,
    "DATABASE_URL",
    # {% if cookiecutter.__pooled %}
    "DATABASE_MIGRATION_URL",
    # {% endif %}
    expected=" or ".join(dict.fromkeys(dialect.URL_FORM for dialect in DIALECTS.values())),
    errors=(ArgumentError,),
)


def init_app(app: Flask) -> None:
    """Create the engine; it connects on first use."""
    settings = get_settings(app)
    engine: Engine = take_client("DATABASE_URL", settings)
    query_logging.instrument(
        engine,
        slow_ms=settings.SLOW_QUERY_MS,
        repeated=settings.REPEATED_QUERY_THRESHOLD if app.debug else 0,
    )
    # {% if cookiecutter.__metrics %}
    monitoring.observe_pool(engine, settings)
    # {% endif %}
    # Processes cannot share connections: a forked child starts with an empty pool.
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    app.extensions["database"] = sessionmaker(engine, expire_on_commit=False)
    app.teardown_appcontext(close_session)
    app.cli.add_command(db)
    app.register_error_handler(OperationalError, handle_unavailable)
    app.register_error_handler(PoolTimeoutError, handle_unavailable)
    health.add_check(app, "database", lambda: ping(engine))


def get_engine() -> Engine:
    """Return the engine of the current application."""
    engine: Engine = current_app.extensions["database"].kw["bind"]
    return engine


def get_dialect() -> ModuleType:
    """Return the module of the current database, with `upsert`, `execute_upsert`, `ANALYZE`."""
    return DIALECTS[get_engine().dialect.name]


def partial_index(condition: str) -> dict[str, Any]:
    """Return arguments for `Index(…)` that limit it to some rows, if the database supports that."""
    names = [name for name, dialect in DIALECTS.items() if dialect.HAS_PARTIAL_INDEXES]
    return {f"{name}_where": text(condition) for name in names}


def handle_unavailable(error: Exception) -> ResponseReturnValue:
    """Respond with 503 if the database is unreachable, too slow or overloaded."""
    structlog.get_logger().error("database unavailable", error=str(getattr(error, "orig", error)))
    return current_app.handle_http_exception(ServiceUnavailable(retry_after=5))


def ping(engine: Engine) -> None:
    """Raise an exception if the database is unreachable or its disk is full.

    The query has a connection of its own, since all connections of the pool may be in use.
    """
    pool = engine.pool.recreate()
    try:
        connection = pool.connect()
        connection.cursor().execute("SELECT 1")
        connection.close()
    finally:
        pool.dispose()
    sqlite.require_disk_space(engine.url)
