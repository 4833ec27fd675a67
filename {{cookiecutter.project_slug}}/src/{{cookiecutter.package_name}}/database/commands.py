"""`flask db …`: migrations by Alembic, on the application's database."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

db = AppGroup("db", help="Change the database's schema by migrations.")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End a command with what the database refused, instead of a traceback."""
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        raise click.ClickException(f"the database: {reason}") from error


def run(name: str, *arguments: Any, **options: Any) -> None:
    """Run a command of Alembic; what it or the database refuses is told in one line."""
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    # It takes 0.1 s and 10 MB to import: only those who migrate need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    if not Path("pyproject.toml").exists():
        raise click.ClickException(
            "`flask db` runs in the project's folder, where pyproject.toml is"
        )
    config = Config(toml_file="pyproject.toml", stdout=sys.stdout)
    with told_in_one_line():
        try:
            getattr(command, name)(config, *arguments, **options)
        except CommandError as error:
            raise click.ClickException(str(error)) from error


@db.command()
@click.argument("revision", default="head")
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
def upgrade(revision: str, *, sql: bool) -> None:
    """Migrate up to REVISION, by default to the newest. Several at once wait for each other."""
    run("upgrade", revision, sql=sql)


@db.command()
@click.argument("revision", default="-1")
def downgrade(revision: str) -> None:
    """Migrate down to REVISION, by default by one; `base` removes everything."""
    run("downgrade", revision)


@db.command()
@click.argument("message")
@click.option("--empty", is_flag=True, help="Leave it to be written by hand.")
def revision(message: str, *, empty: bool) -> None:
    """Write a migration, named MESSAGE, from what the models and the database differ in."""
    run("revision", message, autogenerate=not empty)


@db.command()
def check() -> None:
    """Fail when the models and the migrations differ."""
    run("check")


@db.command()
def current() -> None:
    """Show the migration that the database is at."""
    run("current", verbose=True)


@db.command()
def history() -> None:
    """List the migrations."""
    run("history", indicate_current=True)
