"""The example: a small catalog, from its tables to its pages. The README says how to remove it."""

from flask import Flask

from . import (
    # {% if cookiecutter.__cache %}
    caching,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages,
    # {% endif %}
    seed,
    # {% if cookiecutter.__cache %}
    statistics,
    # {% endif %}
    # {% if cookiecutter.__cached_pages %}
    statistics_page,
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    tags,
    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    transfers,
    # {% endif %}
    views,
)


def init_app(app: Flask) -> None:
    """Serve the catalog."""
    app.register_blueprint(views.blueprint)
    # {% if cookiecutter.__cache %}
    caching.init_app(app)
    app.register_blueprint(statistics.blueprint)
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    tags.init_app(app)
    # {% endif %}
    app.cli.add_command(seed.seed)
    # {% if cookiecutter.__catalog_jobs %}
    transfers.init_app(app)
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__cached_pages %}
    statistics_page.init_app(app)
    # {% endif %}
