"""The commands `flask db …`. Migrations are commands of `alembic`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from . import stats
from .session import get_session

db = AppGroup("db", help="Inspect the database. For migrations: alembic.")


@contextmanager
def cli_errors() -> Iterator[None]:
    """End a command with one line on standard error if the database raises an exception."""
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        sys.exit(f"Error: the database: {reason}")


@db.command("stats")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000))
def show_stats(limit: int) -> None:
    """Print the slowest statements, unused indexes, sizes and bloat, --limit rows of each."""
    width = get_terminal_size(fallback=(1000, 0)).columns
    with cli_errors():
        for line in stats.report_lines(get_session().connection(), limit):
            click.echo(line[:width])
