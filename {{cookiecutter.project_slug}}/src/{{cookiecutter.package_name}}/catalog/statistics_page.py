"""The page of the figures; its table is a fragment that is kept."""

from flask import Blueprint, Flask, render_template

from ..pages import add_link
from .statistics import load_statistics

blueprint = Blueprint("statistics_page", __name__, template_folder="templates")


def init_app(app: Flask) -> None:
    """Serve the page, and link to it from all others."""
    app.register_blueprint(blueprint)
    add_link(app, "Statistics", "statistics_page.show")


@blueprint.get("/statistics")
def show() -> str:
    """Show the figures: the template loads them, if it has to."""
    return render_template("catalog/statistics.html", load_statistics=load_statistics)
