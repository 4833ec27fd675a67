"""Example: a product catalog.

`make remove-example` removes it.
"""

from flask import Flask

from . import (
    # {% if cookiecutter.__catalog_jobs %}
    imports,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages,
    # {% endif %}
    # {% if cookiecutter.__auth %}
    records,
    # {% endif %}
    seed,
    # {% if cookiecutter.__cache %}
    statistics,
    # {% endif %}
    views,
)


def init_app(app: Flask) -> None:
    """Register the blueprints and commands."""
    app.register_blueprint(views.blueprint)
    # {% if cookiecutter.__auth %}
    app.register_blueprint(records.blueprint)
    # {% endif %}
    # {% if cookiecutter.__cache %}
    app.register_blueprint(statistics.blueprint)
    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    app.register_blueprint(imports.blueprint)
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages.init_app(app)
    # {% endif %}
    app.cli.add_command(seed.seed)
