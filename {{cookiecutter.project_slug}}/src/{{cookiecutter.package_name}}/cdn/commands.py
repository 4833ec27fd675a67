"""`flask cdn …`: what it is told to forget, and from where it asks."""

from typing import TextIO

import click
from flask import current_app
from flask.cli import AppGroup

from . import addresses
from .calls import PurgeError

cdn = AppGroup("cdn", help="Tell the CDN to forget, or renew the list of its addresses.")


@cdn.command()
@click.argument("paths", nargs=-1)
@click.option("--tag", "tags", multiple=True, help="What was made of it; may be repeated.")
@click.option("--everything", is_flag=True, help="All that it has.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def purge(
    paths: tuple[str, ...], tags: tuple[str, ...], *, everything: bool, dry_run: bool
) -> None:
    """Make the CDN forget PATHS: of this site, or whole addresses of another one."""
    if not (paths or tags or everything):
        raise click.UsageError("Name paths, tags, or --everything.")
    try:
        for call in current_app.extensions["cdn"].plan(paths, tags, everything=everything):
            click.echo(f"{'would purge' if dry_run else 'purge'} {call.words}")
            if not dry_run:
                call.make()
    except PurgeError as error:
        raise click.ClickException(f"the CDN: {error}") from error


@cdn.command("addresses")
@click.argument("files", nargs=-1, required=True, type=click.File(encoding="utf-8"))
def renew(files: tuple[TextIO, ...]) -> None:
    """Renew the list of trusted addresses from FILES that the CDN publishes; - is the input."""
    service = current_app.extensions["cdn"]
    try:
        networks = addresses.find("\n".join(file.read() for file in files), service.selector)
        addresses.write(service.addresses, service.form, networks)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the list: {error}") from error
    click.echo(f"{service.addresses} has {len(networks)} networks.")
