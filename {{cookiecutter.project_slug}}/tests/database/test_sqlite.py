from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, make_url, text
from sqlalchemy.exc import IntegrityError

from {{ cookiecutter.package_name }}.database import sqlite


def test_a_connection_is_set_up(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path}/test.sqlite3")
    engine = sqlite.make_engine(url, {"DATABASE_STATEMENT_TIMEOUT": 1.0, "DEBUG": False})
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


def test_a_migration_may_rebuild_a_table_but_not_orphan_rows(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path}/test.sqlite3")
    engine = sqlite.make_engine(url, {"DATABASE_STATEMENT_TIMEOUT": 1.0, "DEBUG": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE child (parent_id REFERENCES parent)"))
        connection.execute(text("INSERT INTO parent VALUES (1)"))
        connection.execute(text("INSERT INTO child VALUES (1)"))
    with engine.begin() as connection, sqlite.migrating(connection):
        connection.execute(text("ALTER TABLE parent RENAME TO old"))
        connection.execute(text("ALTER TABLE old RENAME TO parent"))
    with (
        pytest.raises(IntegrityError, match="child"),
        engine.begin() as connection,
        sqlite.migrating(connection),
    ):
        connection.execute(text("DELETE FROM parent"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM parent")) == 1
    engine.dispose()


def test_an_upsert_replaces_and_computes() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = sqlite.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    assert "ON CONFLICT (sku) DO UPDATE SET name = excluded.name" in str(
        statement.compile(dialect=make_url("sqlite://").get_dialect()())
    )
