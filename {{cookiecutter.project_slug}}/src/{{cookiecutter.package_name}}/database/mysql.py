"""MySQL and MariaDB, by PyMySQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects.mysql import Insert, insert

HAS_PARTIAL_INDEXES = False
ANALYZE = "ANALYZE TABLE"


def make_engine(url: URL, config: Mapping[str, Any]) -> Engine:
    """Pool connections, check them before use, and let no statement run for ever.

    READ COMMITTED takes fewer locks than the default, REPEATABLE READ.
    """
    statement_timeout = config["DATABASE_STATEMENT_TIMEOUT"]
    engine = create_engine(
        url.set(drivername="mysql+pymysql"),
        pool_size=config["DATABASE_POOL_SIZE"],
        max_overflow=config["DATABASE_POOL_OVERFLOW"],
        pool_recycle=config["DATABASE_POOL_RECYCLE"],
        pool_timeout=config["DATABASE_CONNECT_TIMEOUT"],
        pool_pre_ping=config["DATABASE_POOL_PRE_PING"],
        hide_parameters=not config["DEBUG"],
        isolation_level="READ COMMITTED",
        connect_args={
            "charset": "utf8mb4",
            "connect_timeout": config["DATABASE_CONNECT_TIMEOUT"],
            "read_timeout": statement_timeout + 1,
            "sql_mode": "TRADITIONAL",
        },
    )

    # The driver would refuse an option that it does not know at the first connection only.
    _, options = engine.dialect.create_connect_args(engine.url)
    signature(engine.dialect.loaded_dbapi.connect).bind(**options)
    event.listen(engine, "connect", lambda raw, _: limit_statements(raw, statement_timeout))
    return engine


def limit_statements(connection: Any, seconds: float) -> None:
    """Let the server end what takes too long: MariaDB all statements, MySQL those that read."""
    is_mariadb = "MariaDB" in connection.get_server_info()
    limit = f"max_statement_time = {seconds}"
    if not is_mariadb:
        limit = f"max_execution_time = {round(seconds * 1000)}"
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {limit}")


def upsert(
    table: Table,
    _key: str,
    replaced: list[str],
    computed: Mapping[str, ColumnElement[Any]],
) -> Insert:
    """Insert rows; where a unique key is taken, replace some columns and compute others."""
    statement = insert(table)
    changes = {name: statement.inserted[name] for name in replaced}
    return statement.on_duplicate_key_update({**changes, **computed})


@contextmanager
def migrating(connection: Connection) -> Iterator[None]:
    """Migrate one at a time, and give up on a table that is in use for 5 s rather than block it."""
    if connection.scalar(text("SELECT GET_LOCK('migrations', 60)")) != 1:
        raise TimeoutError("another migration has been running for a minute")
    # Released with the connection: not before the version is committed.
    connection.execute(text("SET SESSION lock_wait_timeout = 5"))
    yield
