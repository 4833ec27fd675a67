"""SQLite: a file, for development, for tests, and for a small production on one server."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event


def make_engine(url: URL, config: Mapping[str, Any]) -> Engine:
    """Let readers not wait for the writer, writers for each other, and foreign keys hold."""
    engine = create_engine(url, connect_args={"timeout": config["READINESS_TIMEOUT"]})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Python's driver begins transactions late, or not at all: begin() does it.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
