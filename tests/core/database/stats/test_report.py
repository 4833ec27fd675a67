from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection

from {{ cookiecutter.package_name }}.core.database import get_engine
from {{ cookiecutter.package_name }}.core.database.stats.report import (
    Report,
    format_size,
    format_table,
)


@pytest.fixture
def connection(app: Flask) -> Any:
    """A connection to the database of the tests."""
    with app.app_context(), get_engine().connect() as connection:
        yield connection


def lines(connection: Connection, report: Report) -> list[str]:
    return [*report.lines(connection, 2)]


def test_table_aligns_texts_left_and_numbers_right() -> None:
    table = format_table(["total_size", "calls", "name"], [[2048, None, "a"], [5, 12, "b\n  c"]])
    assert [*table] == [
        "total size  calls  name",
        "    2.0 kB      -  a   ",
        "       5 B     12  b c ",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 kB"),
        (50 * 1024**2, "50.0 MB"),
        (2e16, "18189.9 TB"),
    ],
)
def test_size_has_a_unit(size: float, text: str) -> None:
    assert format_size(size) == text


def test_report_has_at_most_limit_rows(connection: Connection) -> None:
    numbers = "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3 LIMIT :limit"
    assert lines(connection, Report("Numbers", numbers)) == ["a", "1", "2"]


def test_report_without_rows_says_so(connection: Connection) -> None:
    empty = "SELECT * FROM (SELECT 1 AS a) one WHERE a = 2 LIMIT :limit"
    assert lines(connection, Report("Numbers", empty)) == ["none"]


def test_unmet_condition_prints_its_hint(connection: Connection) -> None:
    report = Report("Numbers", "", condition="SELECT 0", condition_hint="unknown: it is off")
    assert lines(connection, report) == ["unknown: it is off"]
