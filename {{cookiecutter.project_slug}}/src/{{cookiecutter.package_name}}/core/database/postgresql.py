"""PostgreSQL with psycopg 3."""

import ssl
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from select import POLLIN, poll
from time import monotonic
from typing import Any, Self

import msgspec
import psycopg
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    JSON,
    URL,
    ColumnClause,
    Connection,
    Engine,
    Enum,
    Float,
    LargeBinary,
    Text,
    TextClause,
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
from sqlalchemy.sql.functions import Function, FunctionElement
from sqlalchemy.sql.visitors import iterate

from ...config import Settings
from . import polling, sqlite
from .timeouts import Timeouts, create_pooled_engine, mark_unresponsive

URL_FORM = "postgresql://user:password@host:port/name (with TLS: ?sslmode=verify-full)"
HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"
upsert = partial(sqlite.upsert, insert=insert)

# A connection is pinged before use if the server has not responded for this many seconds.
PING_AFTER = 1.0

# The OpenSSL in the driver's wheel does not find the system's certificate authorities.
SYSTEM_CA_FILE = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose calls time out when the request has no time left.

    A transaction starts with the first statement that may write: a query alone needs no BEGIN and
    no ROLLBACK, at which psycopg discards all prepared statements.
    """

    timeouts: Timeouts  # set by a subclass for each engine
    needs_transaction = True  # of the next statement
    last_response = 0.0

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
            result = super().wait(gen, interval, seconds)
        # Private: psycopg has no public name for this exception.
        except _WaitTimeout:
            mark_unresponsive()
            self.pgconn.finish()
            reason = f"the server did not respond within {seconds:.1f} s"
            raise psycopg.OperationalError(reason) from None

        self.last_response = monotonic()
        return result

    # Private: with `autocommit` instead, SQL from other places would run without a transaction.
    def _start_query(self) -> Generator[Any, Any]:
        """Start a transaction, unless the statement needs none."""
        if self.needs_transaction:
            yield from super()._start_query()
        self.needs_transaction = True

    def commit(self) -> None:
        """Commit the transaction if there is one: without one, the server sends no response."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().commit()

    def rollback(self) -> None:
        """End the transaction if there is one."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def is_alive(self) -> bool:
        """Return whether the server has just responded and has not closed the connection since.

        An idle connection receives nothing until the server closes it.
        """
        if monotonic() - self.last_response > PING_AFTER:
            return False
        received = poll()
        received.register(self.fileno(), POLLIN)
        return not received.poll(0)


class RetryingCursor(psycopg.Cursor[Any]):
    """A cursor that repeats a query whose prepared statement a migration has made invalid.

    PostgreSQL rejects such a statement with this error after a change of a column's type. In a
    transaction, all statements fail after the error, and its rollback discards the statement.
    """

    def execute(self, *arguments: Any, **options: Any) -> Self:
        """Execute a statement."""
        try:
            return super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                raise
            self.connection.execute("DEALLOCATE ALL")
            return super().execute(*arguments, **options)


def create_engine(url: URL, settings: Settings) -> Engine:
    """Create an engine with TLS and timeouts.

    A pooler in transaction mode gives a connection to another client after each transaction, so no
    state of a session may remain: no prepared statements, and timeouts are set in each transaction.
    """
    url = verify_tls(url, settings.DATABASE_CA_FILE)
    check_options(dict(url.query))
    timeout = round(settings.DATABASE_STATEMENT_TIMEOUT * 1000)
    options: dict[str, Any] = {
        "connect_timeout": settings.DATABASE_CONNECT_TIMEOUT,
        "cursor_factory": RetryingCursor,
    }
    has_pooler = settings.DATABASE_POOLER == "transaction"
    if has_pooler:
        options["prepare_threshold"] = None
    else:
        options["options"] = f"{url.query.get('options', '')} -c statement_timeout={timeout}"
    timeouts = Timeouts(settings)
    engine = create_pooled_engine(url, settings, timeouts, connect_args=options)
    connection_class: Any = type("EngineConnection", (BoundedConnection,), {"timeouts": timeouts})
    event.listen(engine, "do_connect", lambda *call: connection_class.connect(*call[2], **call[3]))
    event.listen(engine, "before_cursor_execute", require_transaction)
    ping = partial(ping_unless_alive, engine.dialect.do_ping)
    engine.dialect.do_ping = ping  # type: ignore[method-assign]
    if has_pooler:
        event.listen(engine, "begin", lambda used: set_local(used, "statement_timeout", timeout))
    return engine


def ping_unless_alive(ping: Callable[[Any], bool], connection: Any) -> bool:
    """Send a ping, unless the connection has just been used."""
    return connection.is_alive() or ping(connection)


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


def require_transaction(connection: Connection, cursor: Any, *statement: Any) -> None:
    """Require a transaction for a statement that may write, as any textual SQL may.

    In a READ COMMITTED transaction each query sees what is committed when it starts, as without
    one. The other levels need a transaction, and so does a cursor of the server.
    """
    options = connection.get_execution_options()
    level = options.get("isolation_level", connection.default_isolation_level)
    compiled = statement[2].compiled
    cursor.connection.needs_transaction = (
        level != "READ COMMITTED"
        or isinstance(cursor, psycopg.ServerCursor)
        or not compiled
        or not is_read_only(compiled)
    )


@lru_cache(maxsize=500)
def is_read_only(compiled: Any) -> bool:
    """Return whether a statement neither writes nor locks rows, as a CTE or a function may.

    SQLAlchemy has a class for each function that it knows, such as `count`. Others are `Function`
    or a class of another module.
    """
    # The compiled state has the columns and conditions that a mapping and its options add.
    query = getattr(compiled.compile_state, "statement", compiled.statement)
    return (
        bool(query.is_select)
        and not compiled.ctes
        # FOR UPDATE and similar locks may also be a suffix or a hint.
        and " FOR " not in compiled.string
        and not any(may_write(element) for element in iterate(query))
    )


def may_write(element: Any) -> bool:
    """Return whether a part of a query may write: textual SQL or a function."""
    if isinstance(element, FunctionElement):
        return type(element) is Function or type(element).__module__ != Function.__module__
    if isinstance(element, ColumnClause):
        return element.is_literal and "(" in element.name
    return isinstance(element, TextClause)


def execute_upsert(
    session: Session,
    statement: Insert,
    key: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Execute an `upsert` for many rows. Of rows with the same key, the last one is saved.

    The server gets all rows in one JSON document: that takes less CPU time than a statement for
    each row, and unlike COPY needs no temporary table. JSON has no infinite numbers and no bytes,
    and an enum is saved by its name: tables with such columns get a statement for each row. A
    default of Python is computed once for all rows.
    """
    names = list(rows[0])
    last = list({row[key]: row for row in rows}.values())
    columns = [column(name, statement.table.columns[name].type) for name in names]
    if any(isinstance(each.type, Enum | Float | LargeBinary) for each in columns):
        sqlite.execute_upsert(session, statement, key, last)
        return
    document = literal(msgspec.json.encode(last).decode(), Text)
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

        polling.poll(acquire)
        event.listen(connection, "begin", lambda used: set_local(used, "lock_timeout", 5000))
        yield


def set_local(connection: Connection, name: str, milliseconds: int) -> None:
    """Set a timeout for the transaction; in autocommit mode, an index build has none."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"SET LOCAL {name} = {milliseconds}")
