"""`flask recount`: the numbers of products, computed again."""

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
    click.echo("The numbers are up to date.")
