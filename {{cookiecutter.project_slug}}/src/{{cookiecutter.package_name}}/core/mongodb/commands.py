"""The commands `flask db …`."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from ... import migrations as package
from . import migrations
from .errors import describe_error

db = AppGroup("db", help="Migrate and inspect the database.")

TEMPLATE = '''"""{message}."""

from typing import Any

from pymongo.database import Database


def upgrade(database: Database[dict[str, Any]]) -> None:
    """Change data or indexes. It may run again after an error. It must fit the previous release."""
'''


@contextmanager
def cli_errors() -> Iterator[None]:
    """End a command with one line on standard error if the database raises an exception."""
    try:
        yield
    except (PyMongoError, TimeoutError) as error:
        sys.exit(f"Error: the database: {describe_error(error)}")


def get_database() -> Database[dict[str, Any]]:
    """Return the database of the current application."""
    database: Database[dict[str, Any]] = current_app.extensions["mongodb"].database
    return database


@db.command()
def upgrade() -> None:
    """Apply the missing migrations. Other processes wait; each instance may run it."""
    with cli_errors():
        for name in migrations.upgrade(get_database()):
            click.echo(f"Applied {name}")


@db.command()
@click.option("--check", is_flag=True, help="Exit with 1 if a migration is missing.")
def status(*, check: bool) -> None:
    """List the migrations that have not been applied."""
    with cli_errors():
        pending = migrations.find_pending(get_database())
    click.echo("\n".join(pending) or "All migrations have been applied.")
    sys.exit(1 if check and pending else 0)


@db.command()
@click.argument("message")
def revision(message: str) -> None:
    """Write a migration with the next number."""
    number = max([int(name[1:5]) for name in migrations.find_migrations()], default=0) + 1
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")[:50]
    path = Path(package.__path__[0]) / f"m{number:04}_{slug}.py"
    path.write_text(TEMPLATE.format(message=message.replace('"', "'").capitalize()), "utf-8")
    click.echo(f"Wrote {path}")


@db.command()
def stats() -> None:
    """Print the size of each collection, and how often each index was used."""
    database = get_database()
    with cli_errors():
        for name in sorted(database.list_collection_names()):
            size = database.command("collStats", name)
            click.echo(f"{name}: {size.get('count', 0)} documents, {size.get('size', 0)} bytes")
            for line in index_lines(database, name):
                click.echo(f"  {line}")


def index_lines(database: Database[dict[str, Any]], name: str) -> Iterator[str]:
    """Yield a line for each index of a collection, with its uses since the server started."""
    try:
        uses = {
            found["name"]: found["accesses"]["ops"]
            for found in database[name].aggregate([{"$indexStats": {}}])
        }
    except OperationFailure as error:
        # It needs a privilege, which `readWrite` does not have.
        yield f"uses of indexes: {error.details.get('errmsg') if error.details else error}"
        uses = {}
    for index in database[name].index_information():
        yield f"{index}: {uses.get(index, '?')} uses"
