"""Statistics of the catalog. The query reads every product, so its result is cached."""

from flask import Blueprint
# {% if cookiecutter.__sql %}
from msgspec import Struct
from sqlalchemy import case, func, select
# {% endif %}

from ..core.api import operation
from ..core.cache import cache
# {% if cookiecutter.__sql %}
from ..core.database import get_session
# {% endif %}
from ..core.http_caching import public
from ..core.rate_limiting import rate_limit
# {% if cookiecutter.__sql %}
from .models import Category, Product
# {% else %}
from .entities import Category, CategoryStatistics, Product
from .storage import storage
# {% endif %}

blueprint = Blueprint("statistics", __name__, url_prefix="/api/v1")


# {% if cookiecutter.__sql %}
class CategoryStatistics(Struct):
    """Statistics of a category. The prices of an empty category are null."""

    category: str
    products: int
    sold_out: int
    lowest_price_cents: int | None
    highest_price_cents: int | None


# {% endif %}
@cache.memoize(tags=(Category, Product))
def load_statistics() -> list[CategoryStatistics]:
    """Load the statistics of all categories."""
    # {% if cookiecutter.__sql %}
    statement = (
        select(
            Category.name,
            func.count(Product.id),
            func.count(case((Product.stock == 0, 1))),
            func.min(Product.price_cents),
            func.max(Product.price_cents),
        )
        .outerjoin(Product)
        .group_by(Category.name)
        .order_by(Category.name)
    )
    return [CategoryStatistics(*row) for row in get_session().execute(statement)]
    # {% else %}
    return storage.load_statistics()
    # {% endif %}


@blueprint.get("/statistics")
@rate_limit("60/minute")
@public()
@operation("Statistics", {200: list[CategoryStatistics]})
def list_statistics() -> list[CategoryStatistics]:
    """Return the number of products and the prices of each category."""
    return load_statistics()
