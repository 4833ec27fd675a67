"""The commands `flask cdn …`."""

from typing import TextIO

import click
from flask import current_app
from flask.cli import AppGroup

from . import addresses
from .client import PurgeError

cdn = AppGroup("cdn", help="Purge the CDN, or update the list of its networks.")


@cdn.command()
@click.argument("paths", nargs=-1)
@click.option("--tag", "tags", multiple=True, help="Purge responses with this tag; repeatable.")
@click.option("--everything", is_flag=True, help="Purge everything.")
@click.option("--dry-run", is_flag=True, help="Print what would be purged; needs no credentials.")
def purge(
    paths: tuple[str, ...], tags: tuple[str, ...], *, everything: bool, dry_run: bool
) -> None:
    """Purge PATHS, which are paths of this site or whole URLs, and tags."""
    if not (paths or tags or everything):
        raise click.UsageError("Give paths, --tag or --everything.")
    service = current_app.extensions["cdn"]
    try:
        if not dry_run:
            service.require_settings()
        for call in service.purge_calls(paths, tags, everything=everything):
            click.echo(f"{'would purge' if dry_run else 'purge'} {call.description}")
            if not dry_run:
                call.send()
    except PurgeError as error:
        raise click.ClickException(f"CDN: {error}") from error


@cdn.command("addresses")
@click.argument("files", nargs=-1, required=True, type=click.File(encoding="utf-8"))
def update_addresses(files: tuple[TextIO, ...]) -> None:
    """Update the trusted networks from FILES that the CDN publishes; - is standard input."""
    service = current_app.extensions["cdn"]
    path, text = service.networks_file, "\n".join(file.read() for file in files)
    try:
        networks = addresses.parse_networks(text, service.selector)
        addresses.write_networks(path, service.line_format, networks)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"networks: {error}") from error
    click.echo(f"{path} has {len(networks)} networks.")
