"""MySQL and MariaDB with PyMySQL."""

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.constants.CR import CR_SERVER_LOST  # type: ignore[import-untyped]
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    ExceptionContext,
    Table,
    event,
    text,
)
from sqlalchemy.dialects.mysql import Insert, insert

from ...config import Settings
from . import sqlite
from .polling import poll
from .timeouts import Timeouts, create_pooled_engine, mark_unresponsive

URL_FORM = "mysql://user:password@host:port/name (with TLS: ?ssl_mode=VERIFY_IDENTITY)"
HAS_PARTIAL_INDEXES = False
ANALYZE = "ANALYZE TABLE"
execute_upsert = sqlite.execute_upsert


class BoundedConnection(pymysql.connections.Connection):  # type: ignore[misc]
    """A connection whose calls time out when the request has no time left."""

    timeouts: Timeouts  # set by a subclass for each engine

    def __init__(self, *arguments: Any, **options: Any) -> None:
        timeout = self.timeouts.remaining_to_connect()
        if not timeout:
            raise pymysql.OperationalError(CR_SERVER_LOST, "The server did not respond before")
        names = ("connect_timeout", "read_timeout", "write_timeout")
        super().__init__(*arguments, **options | dict.fromkeys(names, timeout))

    # Private: PyMySQL's own timeouts cannot be changed later, and all commands pass this method.
    def _execute_command(self, *arguments: Any) -> None:
        """Send a command; set the timeout for it and its response."""
        self._read_timeout = self._write_timeout = self.timeouts.remaining() or sys.float_info.min
        super()._execute_command(*arguments)


def create_engine(url: URL, settings: Settings) -> Engine:
    """Create an engine with TLS, timeouts and the isolation level READ COMMITTED.

    That level takes fewer locks than the default, REPEATABLE READ.
    """
    url, tls = verify_tls(url, settings.DATABASE_CA_FILE)
    timeouts = Timeouts(settings)
    engine = create_pooled_engine(
        url.set(drivername="mysql+pymysql"),
        settings,
        timeouts,
        isolation_level="READ COMMITTED",
        connect_args={"charset": "utf8mb4", "sql_mode": "TRADITIONAL", **tls},
    )

    # The driver checks options and files only when it connects.
    _, options = engine.dialect.create_connect_args(engine.url)
    if ca_file := options.get("ssl", {}).get("ca"):
        ssl.create_default_context(cafile=ca_file)
    signature(engine.dialect.loaded_dbapi.connect).bind(**options)

    connect: Any = type("EngineConnection", (BoundedConnection,), {"timeouts": timeouts})
    limit = settings.DATABASE_STATEMENT_TIMEOUT
    event.listen(engine, "do_connect", lambda *call: connect(*call[2], **call[3]))
    event.listen(engine, "handle_error", detect_timeout)
    event.listen(engine, "connect", lambda connection, _: limit_statements(connection, limit))
    return engine


def verify_tls(url: URL, ca_file: str) -> tuple[URL, dict[str, Any]]:
    """Return the URL without `ssl_mode`, and options that verify certificate and host name."""
    mode = url.query.get("ssl_mode")
    if not ca_file and mode is None:
        return url, {}
    rest = url.difference_update_query(["ssl_mode"])
    if mode not in {None, "VERIFY_IDENTITY"} or any(name.startswith("ssl") for name in rest.query):
        raise ValueError(mode)
    context = ssl.create_default_context(cafile=ca_file or None)
    # As the driver does: certificates of private authorities seldom follow all rules.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return rest, {"ssl": context}


def detect_timeout(context: ExceptionContext) -> None:
    """Mark the server as unresponsive if an error was a timeout."""
    if isinstance(context.original_exception.__context__, TimeoutError):
        mark_unresponsive()


def limit_statements(connection: Any, seconds: float) -> None:
    """Set the server's statement timeout; MySQL's is for SELECT only, MariaDB's for all."""
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
    """Return an INSERT that updates the old row if a unique key exists.

    It copies the columns in `replaced` and those with `onupdate` from the new row, and computes
    those in `computed`.
    """
    statement = insert(table)
    names = [*replaced, *(column.name for column in table.columns if column.onupdate)]
    changes = {name: statement.inserted[name] for name in names}
    return statement.on_duplicate_key_update({**changes, **computed})


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Allow one migration at a time; limit to 5 s how long it waits for a table."""
    # Lock names are shared by all databases of a server.
    name = "LEFT(CONCAT_WS(' ', 'migrations', DATABASE()), 64)"

    def acquire() -> bool:
        is_acquired = connection.scalar(text(f"SELECT GET_LOCK({name}, 0)"))
        connection.commit()
        return bool(is_acquired)

    poll(acquire)
    connection.execute(text("SET SESSION lock_wait_timeout = 5"))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text(f"DO RELEASE_LOCK({name})"))
        connection.commit()
