"""HTML pages: the frame that all share, the home page, and errors for people."""

from flask import Blueprint, Flask, render_template

from ..api.docs import openapi
from . import errors

blueprint = Blueprint("pages", __name__)


def init_app(app: Flask) -> None:
    """Serve the pages; other parts put theirs into the navigation with `add_link`."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["site_name"] = openapi.config.title
    app.jinja_env.globals["links"] = app.extensions["links"] = []
    app.register_blueprint(blueprint)
    add_link(app, "Home", "pages.home")
    add_link(app, "API", "docs.page")
    errors.init_app(app)


def add_link(app: Flask, title: str, endpoint: str) -> None:
    """Show a link to an endpoint on every page."""
    app.extensions["links"].append((title, endpoint))


@blueprint.get("/")
def home() -> str:
    """Welcome people."""
    return render_template("home.html")
