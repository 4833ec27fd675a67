"""Migrations and their lock, and the commands `flask db`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }} import migrations as package
from {{ cookiecutter.package_name }}.core import migration_lock
from {{ cookiecutter.package_name }}.core.mongodb import get_database, migrations

Run = Callable[..., Any]

OLD = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def applied(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The migrations that ran: `m9001_a`, and `m9002_b`, which fails the first time."""
    ran: list[str] = []

    def load(name: str) -> Any:
        def upgrade(_: object) -> None:
            ran.append(name.rpartition(".")[2])
            if ran.count("m9002_b") == 1 and ran[-1] == "m9002_b":
                raise TimeoutError("too slow")

        return SimpleNamespace(upgrade=upgrade)

    monkeypatch.setattr(migrations, "find_migrations", lambda: ["m9001_a", "m9002_b"])
    monkeypatch.setattr(migrations, "import_module", load)
    yield ran
    with app.app_context():
        get_database()["migrations"].delete_many({"_id": {"$in": ["m9001_a", "m9002_b"]}})


@pytest.fixture
def run(app: Flask) -> Run:
    """A function that runs `flask db`."""
    return lambda *arguments: app.test_cli_runner().invoke(args=["db", *arguments])


def test_failed_migration_runs_again(run: Run, applied: list[str]) -> None:
    assert run("status", "--check").exit_code == 1
    failed = run("upgrade")
    assert failed.exit_code == 1
    assert failed.output == "Applied m9001_a\nError: the database: too slow\n"
    assert run("status").output == "m9002_b\n"
    assert run("upgrade").output == "Applied m9002_b\n"
    assert applied == ["m9001_a", "m9002_b", "m9002_b"]
    assert run("upgrade").output == ""
    assert run("status", "--check").exit_code == 0


def test_all_migrations_have_been_applied(run: Run) -> None:
    assert run("status", "--check").output == "All migrations have been applied.\n"


def test_one_process_has_the_lock(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_lock, "MAX_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(migration_lock, "RENEWAL_SECONDS", 0.01)
    with app.app_context():
        collection = get_database()["migrations"]
        with migrations.migration_lock(collection):
            with (
                pytest.raises(TimeoutError, match="another migration"),
                migrations.migration_lock(collection),
            ):
                pass
            assert not migrations.try_lock(collection, "another")
        assert migrations.try_lock(collection, "another")
        assert migrations.try_lock(collection, "another")
        collection.delete_one({"_id": migrations.LOCK})


def test_lock_of_a_killed_process_expires(app: Flask) -> None:
    with app.app_context():
        collection = get_database()["migrations"]
        collection.delete_one({"_id": migrations.LOCK})
        collection.insert_one({"_id": migrations.LOCK, "owner": "killed", "renewed_at": OLD})
        with migrations.migration_lock(collection):
            pass
        assert collection.find_one({"_id": migrations.LOCK}) is None


def test_revision_has_the_next_number(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    for message in ("Add color", 'Fill "slugs"'):
        assert run("revision", message).exit_code == 0
    assert migrations.find_migrations() == ["m0001_add_color", "m0002_fill_slugs"]
    compile((tmp_path / "m0002_fill_slugs.py").read_text(encoding="utf-8"), "m0002", "exec")


def test_stats_list_collections(app: Flask, run: Run) -> None:
    with app.app_context():
        get_database()["note"].insert_one({"_id": 1})
    output = run("stats").output
    assert "note: 1 documents" in output
    assert "_id_: " in output
