"""HTML pages."""

from flask import Blueprint, Flask, render_template, request

# {% if cookiecutter.__auth %}
from ..core.access import allow_anonymous
# {% endif %}
# {% if cookiecutter.__sql %}
from ..core.database import get_session
# {% endif %}
from ..web import add_nav_item
# {% if cookiecutter.__sql %}
from . import queries
# {% endif %}
from .schemas import ProductQuery
# {% if cookiecutter.__cache %}
from .statistics import load_statistics
# {% endif %}
# {% if cookiecutter.__nosql %}
from .storage import storage as queries
# {% endif %}

blueprint = Blueprint("catalog_pages", __name__, template_folder="templates")


def init_app(app: Flask) -> None:
    """Register the pages and add them to the navigation."""
    app.register_blueprint(blueprint)
    add_nav_item(app, "Products", "catalog_pages.products")
    # {% if cookiecutter.__cache %}
    add_nav_item(app, "Statistics", "catalog_pages.statistics_page")
    # {% endif %}


@blueprint.app_template_filter()
def price(cents: int) -> str:
    """Format a price."""
    return f"€{cents / 100:,.2f}"


# {% if cookiecutter.__cache %}
@blueprint.get("/statistics")
# {% endif %}
# {% if cookiecutter.__auth_and_cache %}
@allow_anonymous
# {% endif %}
# {% if cookiecutter.__cache %}
def statistics_page() -> str:
    """Show the statistics. The template loads them unless its fragment is cached."""
    return render_template("catalog/statistics.html", load=load_statistics)


# {% endif %}
@blueprint.get("/products")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def products() -> str:
    """List the products by name, a page at a time."""
    # {% if cookiecutter.__sql %}
    categories = get_session().execute(queries.select_categories()).all()
    # {% else %}
    categories = [(category, category.products) for category in queries.load_categories()]
    # {% endif %}
    category_id = request.args.get("category_id", type=int)
    if category_id not in {category.id for category, _ in categories}:
        category_id = None
    query = ProductQuery(
        limit=20,
        after=request.args.get("after"),
        category_id=category_id,
        sold_out="sold_out" in request.args,
    )
    page, cursor = queries.load_products(query)
    return render_template(
        "catalog/products.html",
        categories=categories,
        query=query,
        products=page,
        next=cursor,
    )
