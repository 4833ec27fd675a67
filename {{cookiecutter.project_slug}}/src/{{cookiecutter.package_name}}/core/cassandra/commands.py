"""The commands `flask db …`."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from flask import current_app
from flask.cli import AppGroup

from ...config import get_settings
from .client import UNAVAILABLE, Client
from .migrations import FOLDER, find_migrations, pending, upgrade

db = AppGroup("db", help="Migrate the database.")

SELECT_SIZES = (
    "SELECT table_name, partitions_count, mean_partition_size "
    "FROM system.size_estimates WHERE keyspace_name = ?"
)

TEMPLATE = """-- {message}.
-- Each statement ends with a semicolon at the end of a line. It must fit the previous release.
"""


@contextmanager
def cli_errors() -> Iterator[None]:
    """End a command with one line on standard error if the database raises an exception."""
    try:
        yield
    except (*UNAVAILABLE, DriverException, TimeoutError) as error:
        is_stopped = get_settings().DEBUG and isinstance(error, NoHostAvailable)
        hint = " Start it: make database; then: make migrate" if is_stopped else ""
        sys.exit(f"Error: the database: {' '.join(str(error).split())}{hint}")


@db.command("upgrade")
def upgrade_command() -> None:
    """Create the keyspace if it is missing, and run new migrations."""
    settings = get_settings()
    is_production = not (settings.DEBUG or settings.TESTING)
    replicas = settings.DATABASE_REPLICATION_FACTOR if is_production else 1
    replication = {settings.DATABASE_LOCAL_DATACENTER: replicas}
    client: Client = current_app.extensions["cassandra"]
    with cli_errors():
        upgrade(client, replication, click.echo)


@db.command("status")
@click.option("--check", is_flag=True, help="Exit with 1 if a migration is missing.")
def status_command(*, check: bool) -> None:
    """List the migrations that have not been applied."""
    client: Client = current_app.extensions["cassandra"]
    with cli_errors():
        missing = [path.name for path in find_migrations() if pending(client, path)]
    click.echo("\n".join(missing) or "All migrations have been applied.")
    sys.exit(1 if check and missing else 0)


@db.command("stats")
def stats_command() -> None:
    """Print the estimated number of partitions of each table, and their mean size in bytes."""
    client: Client = current_app.extensions["cassandra"]
    with cli_errors():
        rows = client.execute(SELECT_SIZES, client.keyspace)
    sizes: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        sizes.setdefault(row.table_name, []).append((row.partitions_count, row.mean_partition_size))
    for name, ranges in sorted(sizes.items()):
        total = sum(count for count, _ in ranges)
        mean = sum(count * size for count, size in ranges) // max(total, 1)
        click.echo(f"{name}: {total} partitions, {mean} bytes each")


@db.command("revision")
@click.argument("message")
def revision_command(message: str) -> None:
    """Write a migration with the next number."""
    number = max([int(path.name[:4]) for path in find_migrations()], default=0) + 1
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")[:50]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{number:04}_{slug}.cql"
    path.write_text(TEMPLATE.format(message=message.capitalize()), "utf-8")
    click.echo(f"Wrote {path}")
