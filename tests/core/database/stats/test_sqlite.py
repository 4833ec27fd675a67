import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }}.core.database import get_engine
from {{ cookiecutter.package_name }}.core.database.stats import sqlite


def print_stats(app: Flask, *options: str) -> str:
    result = app.test_cli_runner().invoke(args=["db", "stats", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_stats_has_sizes_and_names_what_sqlite_cannot_tell(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/stats.sqlite3")
    with app.app_context(), get_engine().begin() as connection:
        connection.execute(text("CREATE TABLE large (content)"))
        connection.execute(text("CREATE INDEX of_large ON large (content)"))
        connection.execute(text("CREATE TABLE small (content)"))
        connection.execute(text("INSERT INTO large VALUES (zeroblob(2000000))"))
    output = print_stats(app)
    assert output.count(sqlite.UNKNOWN) == 2
    names = [line.split()[-1] for line in output.splitlines() if "MB" in line or "kB" in line]
    assert {*names[1:3]} == {"large", "of_large"}
    assert names[3:] == ["small"]
    assert "small" not in print_stats(app, "--limit", "2")


def test_sqlite_without_dbstat_is_reported() -> None:
    error = OperationalError("SELECT", {}, sqlite3.OperationalError("no such table: dbstat"))
    connection = Mock(execute=Mock(side_effect=error))
    *_, objects = sqlite.REPORTS
    assert [*objects.lines(connection, 1)] == ["unknown: this SQLite was built without dbstat"]
    assert connection.rollback.called


def test_unreachable_file_is_reported_in_one_line(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="sqlite:////missing/stats.sqlite3")
    result = app.test_cli_runner().invoke(args=["db", "stats"])
    assert str(result.exception) == "Error: the database: unable to open database file"
