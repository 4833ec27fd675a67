"""Static files with a content hash in their name, which clients may cache forever."""

from pathlib import Path
from typing import Any

import click
import structlog
from flask import Flask, Response, current_app, send_from_directory
from flask.cli import AppGroup

from ...config import get_settings
from . import (
    manifest,
    # {% if cookiecutter.reverse_proxy == "none" %}
    middleware,
    # {% endif %}
)

commands = AppGroup("assets", help="Build static files for production.")


def init_app(app: Flask) -> None:
    """Let `url_for` return the names that `make build` wrote, except in debug mode."""
    app.cli.add_command(commands)
    if app.debug:
        return
    root = Path(get_settings(app).STATIC_ROOT).absolute()
    built = manifest.read(root)
    # Logged by the first page that needs a file. Commands need none.
    missing = [] if built or app.testing else [str(root)]
    for source in manifest.iter_static_folders(app):
        if source.endpoint in built:
            app.view_functions[source.endpoint] = HashedStaticView(root / source.url_path)
    # {% if cookiecutter.reverse_proxy == "none" %}
    middleware.init_app(app, root, built)
    # {% endif %}

    @app.url_defaults
    def add_hash(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint in built:
            filename = values["filename"]
            values["filename"] = built[endpoint].get(filename, filename)
        elif missing and endpoint.endswith("static"):
            structlog.get_logger().warning("static files are not built", root=missing.pop())


class HashedStaticView:
    """The view of a folder that was built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> Response:
        """Send a file; only a name with the hash of its content may be cached forever.

        During a deployment clients request names of another release. They get the current file
        under the plain name, which is not cached.
        """
        is_current = manifest.has_hash(filename) and (self.folder / filename).is_file()
        name = filename if is_current else manifest.HASH.sub(r"\1", filename)
        response = send_from_directory(self.folder, name)
        if is_current:
            response.headers["Cache-Control"] = manifest.IMMUTABLE
        # Browsers require it for fonts and modules from another host.
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response


@commands.command("build")
def build_command() -> None:
    """Minify, hash and compress all static files into STATIC_ROOT."""
    # Its libraries are development dependencies.
    from .build import build_all

    root = Path(get_settings().STATIC_ROOT).absolute()
    try:
        count = build_all(current_app, root)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the build failed: {error}") from error
    click.echo(f"Built {count} files in {root}.")
