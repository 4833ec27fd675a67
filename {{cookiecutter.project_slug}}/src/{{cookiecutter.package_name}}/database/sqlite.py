"""SQLite: a file, for development, for tests, and for a small production on one server."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import has_request_context, request
from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import IntegrityError

from ..limits import READING

HAS_PARTIAL_INDEXES = True
ANALYZE = "ANALYZE"


def make_engine(url: URL, config: Mapping[str, Any]) -> Engine:
    """Open a file in which readers do not wait for the writer, and foreign keys hold."""
    engine = create_engine(
        url,
        hide_parameters=not config["DEBUG"],
        connect_args={"timeout": config["DATABASE_STATEMENT_TIMEOUT"]},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Python's driver begins transactions late, or not at all: begin() does it.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # What reads first and writes later fails at once when another wrote in between: so what
        # will write waits for its turn before it reads.
        is_writing = has_request_context() and request.method not in READING
        file: Any = connection.connection.driver_connection
        file.execute("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


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
    """Migrate one at a time: take the file's only write lock before anything is read."""
    send = connection.exec_driver_sql
    send("ROLLBACK")
    send("PRAGMA busy_timeout = 60000")
    # A table that is rebuilt is dropped first: its children must not notice.
    send("PRAGMA foreign_keys = OFF")
    send("BEGIN IMMEDIATE")
    yield
    if orphan := send("PRAGMA foreign_key_check").fetchone():
        reason = ValueError(f"the migration would break a foreign key: {orphan}")
        raise IntegrityError(None, None, reason)
