"""The catalog's page."""

from flask import Blueprint, Flask, render_template, request

from ..database import get_session
from ..pages import add_link
from . import queries
from .schemas import Position

blueprint = Blueprint("catalog_pages", __name__, template_folder="templates")

PAGE_SIZE = 20


def init_app(app: Flask) -> None:
    """Serve the page, and link to it from all others."""
    app.register_blueprint(blueprint)
    add_link(app, "Products", "catalog_pages.products")


@blueprint.get("/products")
def products() -> str:
    """List the products by name; `after` is the position that the page before ended at."""
    given = request.args.get("after")
    after = Position.parse(given) if given else None
    found = get_session().scalars(queries.page_of_products(PAGE_SIZE + 1, after)).all()
    page = found[:PAGE_SIZE]
    has_more = len(found) > PAGE_SIZE
    return render_template(
        "catalog/products.html",
        products=page,
        next=Position(page[-1].name, page[-1].id) if has_more else None,
        is_first=after is None,
    )
