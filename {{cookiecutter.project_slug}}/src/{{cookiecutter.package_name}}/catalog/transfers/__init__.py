"""Files of products: imported, exported and removed again by jobs."""

from flask import Flask

from ... import mail, titles
from . import cleanup, views

__all__ = ["cleanup", "init_app"]


def init_app(app: Flask) -> None:
    """Take and give files, which a nightly job removes; with the other jobs of the example."""
    app.register_blueprint(views.blueprint)
    mail.init_app(app)
    titles.init_app(app)
