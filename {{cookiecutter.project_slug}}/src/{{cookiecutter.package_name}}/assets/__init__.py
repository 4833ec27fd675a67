"""Static files under names that change with what is in them, and so may be kept for ever."""

from pathlib import Path
from typing import Any

import structlog
from flask import Flask, Response, send_from_directory

from . import (
    commands,
    names,
    # {% if cookiecutter.reverse_proxy == "none" %}
    quick,
    # {% endif %}
)


def init_app(app: Flask) -> None:
    """Give `url_for` the names that `make build` made; debug mode takes the sources as they are."""
    app.cli.add_command(commands.assets)
    if app.debug:
        return
    root = Path(app.config["STATIC_ROOT"]).absolute()
    built = names.read(root)
    # Told once, by who serves pages: commands need none of them.
    missing = [] if built or app.testing else [str(root)]
    for source in names.find_sources(app):
        if source.endpoint in built:
            app.view_functions[source.endpoint] = BuiltFiles(root / source.address)
    # {% if cookiecutter.reverse_proxy == "none" %}
    quick.init_app(app, root, built)
    # {% endif %}

    @app.url_defaults
    def rename(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint in built:
            filename = values["filename"]
            values["filename"] = built[endpoint].get(filename, filename)
        elif missing and endpoint.endswith("static"):
            structlog.get_logger().warning("static files are not built", root=missing.pop())


class BuiltFiles:
    """Answers for a folder that was built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> Response:
        """Send a file, to be kept for ever if its name says what is in it.

        While a release is rolled out clients ask for names of another build: they get what is here
        under the plain name, and nobody keeps it.
        """
        is_exact = names.is_built(filename) and (self.folder / filename).is_file()
        plain = filename if is_exact else names.BUILT.sub(r"\1", filename)
        response = send_from_directory(self.folder, plain)
        if is_exact:
            response.headers["Cache-Control"] = names.FOR_EVER
        # Fonts and modules are taken from another host only if it allows that.
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response
