"""SQLite: a file, for development, tests and small sites on one server."""

import atexit
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import sqlalchemy
from flask import has_request_context, request
from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ...config import Settings
from .. import SAFE_METHODS, health
from .polling import poll

URL_FORM = "sqlite:///path"
HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"


def create_engine(url: URL, settings: Settings) -> Engine:
    """Create an engine with foreign keys and WAL, in which readers do not wait for the writer."""
    engine = sqlalchemy.create_engine(
        url,
        hide_parameters=not settings.DEBUG,
        connect_args={"timeout": settings.DATABASE_STATEMENT_TIMEOUT},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Python's driver starts transactions late or not at all: begin() does it.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first fails immediately when it writes after another writer. So a
        # transaction that may write waits for its turn before it reads.
        is_migrating = "is_migrating" in connection.info
        may_write = is_migrating or (has_request_context() and request.method not in SAFE_METHODS)
        file: Any = connection.connection.driver_connection
        file.execute("BEGIN IMMEDIATE" if may_write else "BEGIN")

    # SQLite copies its log into the file when the last connection is closed. Garbage collection
    # does not close them: see wsgi.py.
    atexit.register(engine.dispose)
    return engine


def require_disk_space(url: URL) -> None:
    """Raise `OSError` if the disk of an SQLite file is full: then it still answers queries."""
    path = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and path.is_file():
        health.require_disk_space(path)


def upsert(
    table: Table,
    key: str,
    replaced: list[str],
    computed: Mapping[str, ColumnElement[Any]],
    insert: Callable[[Table], Any] = insert,
) -> Any:
    """Return an INSERT that updates the old row if the key exists.

    It copies the columns in `replaced` and those with `onupdate` from the new row, and computes
    those in `computed`.
    """
    statement = insert(table)
    names = [*replaced, *(column.name for column in table.columns if column.onupdate)]
    changes = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=[key], set_={**changes, **computed})


def execute_upsert(
    session: Session,
    statement: Any,
    _key: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Execute an `upsert` for many rows. Of rows with the same key, the last one is saved."""
    session.execute(statement, rows)


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Allow one migration at a time: lock the file's folder, since a commit ends SQLite's locks."""
    file: Any = connection.connection.driver_connection
    path = Path(file.execute("PRAGMA database_list").fetchone()[2])
    # To change a table, Alembic drops and recreates it; foreign keys must not notice.
    file.execute("PRAGMA foreign_keys = OFF")
    file.execute("PRAGMA busy_timeout = 60000")
    connection.info["is_migrating"] = True
    folder = os.open(path.parent, os.O_RDONLY)

    def acquire() -> bool:
        try:
            flock(folder, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        poll(acquire)
        event.listen(connection, "commit", check_foreign_keys)
        yield
    finally:
        os.close(folder)


def check_foreign_keys(connection: Connection) -> None:
    """Raise `IntegrityError` before a commit if a row refers to a missing one."""
    if orphan := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone():
        reason = ValueError(f"the migration would break a foreign key: {orphan}")
        raise IntegrityError(None, None, reason)
