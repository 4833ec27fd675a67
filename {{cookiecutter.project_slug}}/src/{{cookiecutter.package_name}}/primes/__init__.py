"""The example: an answer that takes a while. The README says how to remove it."""

from flask import Flask

from . import (
    # {% if cookiecutter.__cache %}
    caching,
    # {% endif %}
    views,
)


def init_app(app: Flask) -> None:
    """Serve the example."""
    app.register_blueprint(views.blueprint)
    # {% if cookiecutter.__cache %}
    caching.init_app(app)
    # {% endif %}
