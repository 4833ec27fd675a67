"""The commands `flask cache …`."""

import click
from flask import current_app
from flask.cli import AppGroup

cache = AppGroup("cache", help="Manage the cache.")


@cache.command()
def clear() -> None:
    """Delete all keys that begin with CACHE_PREFIX, of all releases."""
    store = current_app.extensions["cache"]
    try:
        click.echo(f"Deleted {store.clear()} keys.")
    except store.backend.errors as error:
        raise click.ClickException(f"cache: {error}") from error
