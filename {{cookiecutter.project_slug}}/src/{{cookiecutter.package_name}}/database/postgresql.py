"""PostgreSQL, by psycopg 3."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, create_engine, text
from sqlalchemy.dialects.postgresql import Insert, insert

HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"


def make_engine(url: URL, config: Mapping[str, Any]) -> Engine:
    """Pool connections, check them before use, and let no statement run for ever."""
    options = url.query.get("options", "")
    timeout = round(config["DATABASE_STATEMENT_TIMEOUT"] * 1000)
    return create_engine(
        url,
        pool_size=config["DATABASE_POOL_SIZE"],
        max_overflow=config["DATABASE_POOL_OVERFLOW"],
        pool_recycle=config["DATABASE_POOL_RECYCLE"],
        pool_timeout=config["DATABASE_CONNECT_TIMEOUT"],
        pool_pre_ping=config["DATABASE_POOL_PRE_PING"],
        hide_parameters=not config["DEBUG"],
        connect_args={
            "connect_timeout": config["DATABASE_CONNECT_TIMEOUT"],
            "options": f"{options} -c statement_timeout={timeout}",
        },
    )


def upsert(
    table: Table,
    key: str,
    replaced: list[str],
    computed: Mapping[str, ColumnElement[Any]],
) -> Insert:
    """Insert rows; where `key` is taken, replace some columns of the old row and compute others."""
    statement = insert(table)
    changes = {name: statement.excluded[name] for name in replaced}
    return statement.on_conflict_do_update(index_elements=[key], set_={**changes, **computed})


@contextmanager
def migrating(connection: Connection) -> Iterator[None]:
    """Migrate one at a time, and give up on a table that is in use for 5 s rather than block it."""
    connection.execute(text("SET LOCAL lock_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('migrations'))"))
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    yield
