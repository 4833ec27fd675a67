"""Migrations and their lock, and the commands `flask db`."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any
from unittest.mock import Mock

import pytest
from cassandra import AlreadyExists
from flask import Flask

from {{ cookiecutter.package_name }}.core import migration_lock
from {{ cookiecutter.package_name }}.core.cassandra import (
    commands,
    get_client,
    migrations,
)
from {{ cookiecutter.package_name }}.core.cassandra.client import is_applied

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations, instead of that of the project."""
    monkeypatch.setattr(commands, "FOLDER", tmp_path)
    monkeypatch.setattr(migrations.find_migrations, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.fixture
def run(app: Flask) -> Run:
    """A function that runs `flask db`."""
    return lambda *arguments: app.test_cli_runner().invoke(args=["db", *arguments])


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- A comment;\nINSERT INTO a (b) VALUES ('x; y');\n\nTRUNCATE a\n  ;\nTRUNCATE b;\n"
    statements = migrations.split_statements(text)
    assert statements == ["INSERT INTO a (b) VALUES ('x; y')", "TRUNCATE a", "TRUNCATE b"]


def test_failed_migration_continues_with_its_statement(run: Run, folder: Path) -> None:
    first, second = (f"CREATE TABLE {folder.name[-9:]}_{n} (id int PRIMARY KEY)" for n in (1, 2))
    name = f"0001_{folder.name}.cql"
    (folder / name).write_text(f"{first};\nNONSENSE;\n{second};\n")
    assert run("status", "--check").output == f"{name}\n"
    failed = run("upgrade")
    assert failed.exit_code == 1
    assert failed.output.startswith("Error: the database: ")
    assert failed.output.count("\n") == 1
    (folder / name).write_text(f"{first};\n-- Better;\nTRUNCATE schema_lock;\n{second};\n")
    assert run("upgrade").output == f"{name}: 2 statements\n"
    assert run("upgrade").output == ""
    assert run("status", "--check").output == "All migrations have been applied.\n"


def test_revision_writes_the_next_file(run: Run, folder: Path) -> None:
    for message in ("add color", "Add size"):
        assert run("revision", message).exit_code == 0
    assert [path.name for path in migrations.find_migrations()] == [
        "0001_add_color.cql",
        "0002_add_size.cql",
    ]
    assert (folder / "0001_add_color.cql").read_text().startswith("-- Add color.\n")
    assert migrations.split_statements((folder / "0001_add_color.cql").read_text()) == []


def test_stats_add_up_the_ranges_of_tokens(
    app: Flask, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Mock(table_name="a", partitions_count=n, mean_partition_size=10 * n) for n in (1, 3)]
    monkeypatch.setattr(app.extensions["cassandra"], "execute", lambda *_: rows)
    assert run("stats").output == "a: 4 partitions, 25 bytes each\n"


def test_second_process_waits_for_the_lock(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_lock, "MAX_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(migration_lock, "POLL_SECONDS", 0.05)
    with app.app_context():
        client = get_client()
        with (
            migrations.migration_lock(client),
            pytest.raises(TimeoutError, match="another migration"),
            migrations.migration_lock(client),
        ):
            pass
        assert not client.execute(migrations.SELECT_LOCK)


def test_lock_is_for_one_of_two_processes_that_saw_none(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = migrations.SELECT_LOCK.replace("'migrations'", "'other'")
    monkeypatch.setattr(migrations, "SELECT_LOCK", seen)
    with app.app_context():
        client = get_client()
        if not client.has_conditions:
            pytest.skip("the server has no lightweight transactions")
        assert [migrations.acquire(client, owner) for owner in "ab"] == [True, False]
        client.execute(migrations.DELETE_LOCK)


@pytest.fixture
def renewals(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Queue[list[Any]]:
    """The responses to renewals of the lock, which follow each other quickly."""
    monkeypatch.setattr(migration_lock, "RENEWAL_SECONDS", 0.01)
    client = app.extensions["cassandra"]
    execute, renewals = client.execute, Queue[list[Any]]()

    def observe(query: str, *parameters: Any) -> list[Any]:
        rows: list[Any] = execute(query, *parameters)
        if query.startswith("UPDATE schema_lock USING TTL 60 "):
            renewals.put(rows)
        return rows

    monkeypatch.setattr(client, "execute", observe)
    return renewals


def test_lock_is_renewed(app: Flask, renewals: Queue[list[Any]]) -> None:
    with app.app_context():
        with migrations.migration_lock(get_client()):
            for _ in range(2):
                assert is_applied(renewals.get(timeout=10))
        assert not get_client().execute(migrations.SELECT_LOCK)


def test_lock_that_another_process_has_taken_over_remains(
    app: Flask, renewals: Queue[list[Any]]
) -> None:
    with app.app_context():
        client = get_client()
        if not client.has_conditions:
            pytest.skip("the server has no lightweight transactions")
        with migrations.migration_lock(client):
            # As after TTL_SECONDS.
            client.execute(migrations.DELETE_LOCK)
            assert migrations.acquire(client, "other")
            # One more may have begun before.
            for _ in range(renewals.qsize() + 2):
                rows = renewals.get(timeout=10)
            assert not is_applied(rows)
        assert [row.owner for row in client.execute(migrations.SELECT_LOCK)] == ["other"]
        client.execute(migrations.DELETE_LOCK)


def test_keyspace_that_another_process_has_created_is_no_error() -> None:
    session = Mock(execute=Mock(side_effect=AlreadyExists("keyspace", "")))
    migrations.create(session, "CREATE KEYSPACE a")


def test_development_names_the_command_that_starts_a_server(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(FLASK_DEBUG="1", FLASK_TESTING="", DATABASE_URL="cassandra://127.0.0.1:1/test")
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert "make database" in result.output
