"""Example: a product catalog.

`make remove-example` removes it.
"""

from flask import Flask

from . import (
    # {% if cookiecutter.__nosql %}
    api,
    # {% endif %}
    # {% if cookiecutter.__nosql_jobs %}
    import_jobs,
    # {% endif %}
    # {% if cookiecutter.__sql_jobs %}
    imports,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages,
    # {% endif %}
    # {% if cookiecutter.__auth %}
    records,
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    recount,
    # {% endif %}
    seed,
    # {% if cookiecutter.__cache %}
    statistics,
    # {% endif %}
    # {% if cookiecutter.__sql %}
    views,
    # {% endif %}
)


def init_app(app: Flask) -> None:
    """Register the blueprints and commands."""
    # {% if cookiecutter.__sql %}
    app.register_blueprint(views.blueprint)
    # {% else %}
    app.register_blueprint(api.blueprint)
    # {% endif %}
    # {% if cookiecutter.__auth %}
    app.register_blueprint(records.blueprint)
    # {% endif %}
    # {% if cookiecutter.__cache %}
    app.register_blueprint(statistics.blueprint)
    # {% endif %}
    # {% if cookiecutter.__sql_jobs %}
    app.register_blueprint(imports.blueprint)
    # {% elif cookiecutter.__nosql_jobs %}
    app.register_blueprint(import_jobs.blueprint)
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    pages.init_app(app)
    # {% endif %}
    app.cli.add_command(seed.seed)
    # {% if cookiecutter.database == "cassandra" %}
    app.cli.add_command(recount.recount)
    # {% endif %}
