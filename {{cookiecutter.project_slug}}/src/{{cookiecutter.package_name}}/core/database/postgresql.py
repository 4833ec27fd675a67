"""PostgreSQL with psycopg 3."""

import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Self

import msgspec
import psycopg
from psycopg.errors import _WaitTimeout
from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Engine,
    Text,
    cast,
    column,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.visitors import iterate

from ...config import Settings
from . import sqlite
from .polling import poll
from .timeouts import Timeouts, create_pooled_engine, mark_unresponsive

URL_FORM = "postgresql://user:password@host:port/name (with TLS: ?sslmode=verify-full)"
HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"
upsert = partial(sqlite.upsert, insert=insert)

# The OpenSSL in the driver's wheel does not find the system's certificate authorities.
SYSTEM_CA_FILE = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose calls time out when the request has no time left.

    A read-only transaction ends with a commit, since psycopg discards all prepared statements at
    a rollback.
    """

    timeouts: Timeouts  # set by a subclass for each engine
    is_read_only = False

    @classmethod
    # Private: the driver's own timeout is in whole seconds, and at least two.
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, Self]:
        """Connect to one of the server's IP addresses before the timeout."""
        deadline = monotonic() + cls.timeouts.remaining_to_connect()
        connecting: Any = super()._connect_gen(conninfo)
        ready = None
        try:
            while monotonic() < deadline:
                ready = yield connecting.send(ready)
        except StopIteration as connected:
            connection: Self = connected.value
            return connection
        raise psycopg.OperationalError("the server did not respond in time")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for a response; close the connection after a timeout."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = self.timeouts.remaining()
        try:
            return super().wait(gen, interval, seconds)
        # Private: psycopg has no public name for this exception.
        except _WaitTimeout:
            mark_unresponsive()
            self.pgconn.finish()
            reason = f"the server did not respond within {seconds:.1f} s"
            raise psycopg.OperationalError(reason) from None

    def rollback(self) -> None:
        """End the transaction."""
        if self.is_read_only:
            self.commit()
        else:
            super().rollback()


def create_engine(url: URL, settings: Settings) -> Engine:
    """Create an engine with TLS and timeouts.

    A pooler in transaction mode gives a connection to another client after each transaction, so no
    state of a session may remain: no prepared statements, and timeouts are set in each transaction.
    """
    url = verify_tls(url, settings.DATABASE_CA_FILE)
    check_options(dict(url.query))
    timeout = round(settings.DATABASE_STATEMENT_TIMEOUT * 1000)
    options: dict[str, Any] = {"connect_timeout": settings.DATABASE_CONNECT_TIMEOUT}
    has_pooler = settings.DATABASE_POOLER == "transaction"
    if has_pooler:
        options["prepare_threshold"] = None
    else:
        options["options"] = f"{url.query.get('options', '')} -c statement_timeout={timeout}"
    timeouts = Timeouts(settings)
    engine = create_pooled_engine(url, settings, timeouts, connect_args=options)
    connection_class: Any = type("EngineConnection", (BoundedConnection,), {"timeouts": timeouts})
    event.listen(engine, "do_connect", lambda *call: connection_class.connect(*call[2], **call[3]))
    event.listen(engine, "begin", start_read_only)
    event.listen(engine, "before_cursor_execute", detect_write)
    if has_pooler:
        event.listen(engine, "begin", lambda used: set_local(used, "statement_timeout", timeout))
    return engine


def verify_tls(url: URL, ca_file: str) -> URL:
    """Add the file of certificate authorities; DATABASE_CA_FILE also verifies the host name."""
    if ca_file:
        return url.update_query_dict({"sslmode": "verify-full", "sslrootcert": ca_file})
    if url.query.get("sslmode") == "verify-full" and "sslrootcert" not in url.query:
        return url.update_query_dict({"sslrootcert": SYSTEM_CA_FILE})
    return url


def check_options(options: dict[str, Any]) -> None:
    """Raise `ValueError` or `OSError` for options that the driver rejects.

    The driver checks them only when it connects, so let it connect to a socket that is missing.
    """
    if ca_file := options.get("sslrootcert"):
        ssl.create_default_context(cafile=ca_file)
    try:
        conninfo = psycopg.conninfo.make_conninfo("", **{**options, "host": "/-", "port": 5432})
    except psycopg.Error as error:
        raise ValueError(str(error)) from error
    reason = psycopg.pq.PGconn.connect_start(conninfo.encode()).error_message.decode()
    if not reason.startswith("connection to server"):
        raise ValueError(reason)


def start_read_only(connection: Connection) -> None:
    """Start a transaction, which is read-only until it sends a statement that may write."""
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.is_read_only = True


def detect_write(_: Connection, cursor: Any, *statement: Any) -> None:
    """Detect a statement that may write, as any textual SQL may."""
    compiled = statement[2].compiled
    if not compiled or not is_read_only(compiled):
        cursor.connection.is_read_only = False


@lru_cache(maxsize=500)
def is_read_only(compiled: Any) -> bool:
    """Return whether a statement cannot write, as a CTE or an own function may.

    SQLAlchemy has a class for each function that it knows, such as `count`; others are `Function`.
    """
    query = compiled.statement
    return (
        bool(query.is_select)
        and not compiled.ctes
        and not any(type(element) is Function for element in iterate(query))
    )


def execute_upsert(
    session: Session,
    statement: Insert,
    key: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Execute an `upsert` for many rows. Of rows with the same key, the last one is saved.

    The server gets all rows in one JSON document: that takes less CPU time than a statement for
    each row, and unlike COPY needs no temporary table. Values must be of types that JSON has.
    """
    names = list(rows[0])
    last = {row[key]: row for row in rows}
    document = literal(msgspec.json.encode(list(last.values())).decode(), Text)
    columns = [column(name, statement.table.columns[name].type) for name in names]
    source = func.json_to_recordset(cast(document, JSON)).table_valued(*columns)
    session.execute(statement.from_select(names, select(source.render_derived(with_types=True))))


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Allow one migration at a time; limit to 5 s how long it waits for a table.

    The advisory lock belongs to a transaction of a second connection: a migration may leave its
    own transaction, and a pooler drops the locks of a session. The lock is polled, since a
    concurrent index build waits for all open snapshots: a statement that waits for a lock has one,
    but this READ COMMITTED transaction has none between its statements.
    """
    with connection.engine.connect() as holder:
        holder.execution_options(isolation_level="READ COMMITTED")

        def acquire() -> bool:
            set_local(holder, "idle_in_transaction_session_timeout", 0)
            lock = text("SELECT pg_try_advisory_xact_lock(hashtext('migrations'))")
            is_acquired = bool(holder.scalar(lock))
            if not is_acquired:
                holder.rollback()
            return is_acquired

        poll(acquire)
        event.listen(connection, "begin", lambda used: set_local(used, "lock_timeout", 5000))
        yield


def set_local(connection: Connection, name: str, milliseconds: int) -> None:
    """Set a timeout for the transaction; in autocommit mode, an index build has none."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"SET LOCAL {name} = {milliseconds}")
