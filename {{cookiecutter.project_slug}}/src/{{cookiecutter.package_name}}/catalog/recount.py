"""`flask recount`: the statistics of the catalog, computed again."""

import click
from flask.cli import with_appcontext

from ..core.cassandra import cli_errors
from . import cassandra as storage


@click.command
@with_appcontext
def recount() -> None:
    """Count the products of each category again, after a crash or many deletions."""
    with cli_errors():
        storage.recount()
    click.echo("The statistics are up to date.")
