"""PostgreSQL with psycopg 3."""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import psycopg
from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Engine,
    Enum,
    Float,
    LargeBinary,
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

from ...config import Settings
from . import polling, sqlite
from .psycopg_connections import BoundedConnection, RetryingCursor
from .read_only import require_transaction
from .timeouts import Timeouts, create_pooled_engine

URL_FORM = "postgresql://user:password@host:port/name (with TLS: ?sslmode=verify-full)"
HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"
upsert = partial(sqlite.upsert, insert=insert)

# The OpenSSL in the driver's wheel does not find the system's certificate authorities.
SYSTEM_CA_FILE = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


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
