import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import inspect

from {{ cookiecutter.package_name }}.database import Base, get_engine


def run(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=["db", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def tables(app: Flask) -> set[str]:
    with app.app_context():
        return set(inspect(get_engine()).get_table_names()) - {"alembic_version"}


def test_migrations_and_models_agree(app: Flask) -> None:
    assert "No new upgrade operations detected" in run(app, "check")
    assert tables(app) == set(Base.metadata.tables)


def test_migrations_go_down_and_up(app: Flask) -> None:
    run(app, "downgrade", "base")
    assert tables(app) == set()
    run(app, "upgrade")
    assert tables(app) == set(Base.metadata.tables)


def test_a_mistake_is_told_in_one_line(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["db", "upgrade", "nowhere"])
    assert result.exit_code == 1
    assert result.output.endswith("\nError: Can't locate revision identified by 'nowhere'\n")


def test_they_run_in_the_project_s_folder(
    app: Flask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert "project's folder" in result.output


def test_a_database_that_is_gone_is_told_in_one_line(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="sqlite:////nowhere/file.sqlite3")
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert result.output == "Error: the database: unable to open database file\n"


def test_migrations_can_be_looked_at(app: Flask) -> None:
    for arguments in (["current"], ["history"], ["upgrade", "--sql"]):
        run(app, *arguments)


def test_a_migration_is_written(
    app: Flask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree("migrations", tmp_path / "migrations")
    shutil.copy("pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.glob("migrations/versions/*.py"))
    run(app, "revision", "add colour")
    (written,) = set(tmp_path.glob("migrations/versions/*.py")) - before
    assert written.name.endswith("_add_colour.py")
    assert '"""add colour.' in written.read_text()
