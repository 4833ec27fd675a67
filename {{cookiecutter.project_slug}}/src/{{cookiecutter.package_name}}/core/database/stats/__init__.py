"""Reports for `flask db stats`: slow statements, unused indexes, sizes and bloat."""

from collections.abc import Iterator

from sqlalchemy import Connection

from . import (
    # {% if cookiecutter.database == "mysql" %}
    mysql,
    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    postgresql,
    # {% endif %}
    sqlite,
)

REPORTS = {
    # {% if cookiecutter.database == "mysql" %}
    "mysql": mysql.REPORTS,
    "mariadb": mysql.REPORTS,
    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    "postgresql": postgresql.REPORTS,
    # {% endif %}
    "sqlite": sqlite.REPORTS,
}


def report_lines(connection: Connection, limit: int) -> Iterator[str]:
    """Yield the lines of all reports about the database, with at most `limit` rows of each."""
    for report in REPORTS[connection.dialect.name]:
        yield report.title
        yield from (f"  {line}".rstrip() for line in report.lines(connection, limit))
        yield ""
