"""`flask cache …`: what is in it, and how to empty it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app
from flask.cli import AppGroup

from .store import Store

cache = AppGroup("cache", help="Look into the cache, or empty it.")


@contextmanager
def used() -> Iterator[Store]:
    """Give the cache, and end a command with what it says when it does not answer."""
    store: Store = current_app.extensions["cache"]
    try:
        yield store
    except store.backend.errors as error:
        raise click.ClickException(f"the cache: {error}") from error


@cache.command()
def stats() -> None:
    """Show what is in it, and what its server says; hits of one request are in its log line."""
    with used() as store:
        kinds = Counter(key.split(":")[2] for key in store.backend.keys(store.prefix))
        rows = {f"{kind}s": number for kind, number in sorted(kinds.items())}
        for name, value in {"prefix": store.prefix, **rows, **store.backend.describe()}.items():
            click.echo(f"{name:28} {value}")


@cache.command()
def clear() -> None:
    """Forget everything that has our prefix, of all releases; others' keys stay."""
    with used() as store:
        click.echo(f"Forgot {store.clear()} keys.")
