from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, MetaData, Table, make_url, text
from sqlalchemy.exc import IntegrityError

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.core import health
from {{ cookiecutter.package_name }}.core.database import polling, sqlite


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine for a new file."""
    url = make_url(f"sqlite:///{tmp_path}/test.sqlite3")
    return sqlite.create_engine(url, load_settings({"FLASK_TESTING": "1"}))


def test_connection_uses_foreign_keys_and_wal(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


def test_migration_may_rebuild_table_but_not_orphan_rows(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE child (parent_id REFERENCES parent)"))
        connection.execute(text("INSERT INTO parent VALUES (1)"))
        connection.execute(text("INSERT INTO child VALUES (1)"))
    with engine.connect() as connection, sqlite.migration_lock(connection):
        connection.execute(text("ALTER TABLE parent RENAME TO old"))
        connection.execute(text("ALTER TABLE old RENAME TO parent"))
        connection.commit()
    engine.dispose()
    with engine.connect() as connection, sqlite.migration_lock(connection):
        connection.execute(text("DELETE FROM parent"))
        with pytest.raises(IntegrityError, match="child"):
            connection.commit()
    engine.dispose()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM parent")) == 1
    engine.dispose()


def test_only_one_migration_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "poll", partial(polling.poll, timeout=0.1))
    with (
        engine.connect() as first,
        engine.connect() as second,
        sqlite.migration_lock(first),
        pytest.raises(TimeoutError, match="another migration"),
        sqlite.migration_lock(second),
    ):
        pass
    engine.dispose()


def test_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test.sqlite3"
    path.touch()
    urls = [make_url(url) for url in (f"sqlite:///{path}", "sqlite://", f"other:///{path}")]
    for url in urls:
        sqlite.require_disk_space(url)
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**63)
    with pytest.raises(OSError, match="bytes are free"):
        sqlite.require_disk_space(urls[0])
    for url in urls[1:]:
        sqlite.require_disk_space(url)


def test_upsert_replaces_and_computes_columns() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = sqlite.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    assert "ON CONFLICT (sku) DO UPDATE SET name = excluded.name" in str(
        statement.compile(dialect=make_url("sqlite://").get_dialect()())
    )
