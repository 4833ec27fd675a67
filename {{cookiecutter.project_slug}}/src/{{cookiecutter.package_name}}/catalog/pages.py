"""The catalog's page."""

from flask import Blueprint, Flask, render_template, request

from ..pages import add_link
from . import queries

blueprint = Blueprint("catalog_pages", __name__, template_folder="templates")

PAGE_SIZE = 20


def init_app(app: Flask) -> None:
    """Serve the page, and link to it from all others."""
    app.register_blueprint(blueprint)
    add_link(app, "Products", "catalog_pages.products")


@blueprint.get("/products")
def products() -> str:
    """List the products by name; `after` is the position that the page before ended at."""
    after = request.args.get("after")
    page, position = queries.load_page(PAGE_SIZE, after)
    return render_template(
        "catalog/products.html",
        products=page,
        next=position,
        is_first=not after,
    )
