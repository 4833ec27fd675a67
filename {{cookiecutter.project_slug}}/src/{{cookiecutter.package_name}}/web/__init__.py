"""HTML pages: base template, navigation, home page and error pages."""

from flask import Blueprint, Flask, render_template

# {% if cookiecutter.__auth %}
from ..core.access import allow_anonymous
# {% endif %}
from ..core.api.openapi import openapi
from . import errors

blueprint = Blueprint("pages", __name__)

DESCRIPTION = "{{ cookiecutter.__description }}"


def init_app(app: Flask) -> None:
    """Register the pages. Other packages add theirs to the navigation with `add_nav_item`."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        site_name=openapi.config.title,
        site_description=DESCRIPTION,
        api_version=openapi.config.version,
        nav_items=app.extensions.setdefault("nav_items", []),
        # {% if cookiecutter.__login %}
        nav_templates=app.extensions.setdefault("nav_templates", []),
        # {% endif %}
        # {% if cookiecutter.__web_vitals %}
        body_templates=app.extensions.setdefault("body_templates", []),
        # {% endif %}
    )
    app.register_blueprint(blueprint)
    add_nav_item(app, "Home", "pages.home")
    errors.init_app(app)


def add_nav_item(app: Flask, title: str, endpoint: str) -> None:
    """Add a page to the navigation, which every page shows."""
    app.extensions["nav_items"].append((title, endpoint))


# {% if cookiecutter.__login %}
def add_nav_template(app: Flask, name: str) -> None:
    """Add a template to the end of the navigation, for an item that is more than a link."""
    app.extensions["nav_templates"].append(name)


# {% endif %}
# {% if cookiecutter.__web_vitals %}
def add_body_template(app: Flask, name: str) -> None:
    """Add a template to the end of every page, such as a script."""
    app.extensions["body_templates"].append(name)


# {% endif %}
@blueprint.get("/")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def home() -> str:
    """Show the home page."""
    return render_template("home.html")
