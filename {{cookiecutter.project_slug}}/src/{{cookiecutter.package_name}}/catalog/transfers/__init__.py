"""Files of products: imported, exported and removed again by jobs."""

from flask import Flask

from . import cleanup, views

__all__ = ["cleanup", "init_app"]


def init_app(app: Flask) -> None:
    """Take and give files; a nightly job removes the old ones."""
    app.register_blueprint(views.blueprint)
