"""Figures that read every product: a query for a cache."""

from flask import Blueprint
from msgspec import Struct
from sqlalchemy import case, func, select

from ..api import operation
from ..cache import remember
from ..database import get_session
from ..http_caching import public
from ..limits import limited
from .models import Category, Product

blueprint = Blueprint("statistics", __name__, url_prefix="/api/v1")


class CategoryStatistics(Struct):
    """A category in figures; prices are null when it is empty."""

    category: str
    products: int
    sold_out: int
    lowest_price_cents: int | None
    highest_price_cents: int | None


@remember("category", "product")
def load_statistics() -> list[CategoryStatistics]:
    """Sum up each category."""
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


@blueprint.get("/statistics")
@limited("RATE_LIMIT_EXPENSIVE")
@public()
@operation("Statistics", {200: list[CategoryStatistics]})
def show_statistics() -> list[CategoryStatistics]:
    """Sum up each category."""
    found: list[CategoryStatistics] = load_statistics()
    return found
