"""`flask assets …`: the build of static files."""

from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup

assets = AppGroup("assets", help="Build static files for production.")


@assets.command()
def build() -> None:
    """Minify, name and compress all static files, below STATIC_ROOT."""
    # Its tools are not installed where the application only runs.
    from .build import build_all  # noqa: PLC0415

    root = Path(current_app.config["STATIC_ROOT"]).absolute()
    try:
        number = build_all(current_app, root)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the build: {error}") from error
    click.echo(f"Built {number} files below {root}.")
