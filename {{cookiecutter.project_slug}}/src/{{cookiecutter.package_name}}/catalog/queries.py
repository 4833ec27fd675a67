"""Every query of the catalog, in one place; what a caller reads of a product is loaded with it."""

from collections.abc import Sequence

from sqlalchemy import Select, func, literal_column, or_, select
from sqlalchemy.orm import joinedload

from ..database import get_session
from .models import Category, Product
from .schemas import Position


def all_categories() -> Select[Category, int]:
    """List the categories by name, each with the number of its products: one query, no N+1."""
    counts = count_products().subquery()
    return (
        select(Category, func.coalesce(counts.c.products, 0))
        .outerjoin(counts, counts.c.category_id == Category.id)
        .order_by(Category.name)
    )


def count_products() -> Select[int, int]:
    """Count each category's products."""
    return select(Product.category_id, func.count().label("products")).group_by(Product.category_id)


def one_product(product_id: int) -> Select[Product]:
    """Find a product, with its category."""
    return select(Product).options(joinedload(Product.category)).where(Product.id == product_id)


def page_of_products(
    limit: int,
    after: Position | None = None,
    category_id: int | None = None,
    *,
    sold_out: bool = False,
) -> Select[Product]:
    """Take products by name, behind a position: the last page costs what the first does."""
    statement = (
        select(Product)
        .options(joinedload(Product.category))
        .order_by(Product.name, Product.id)
        .limit(limit)
    )
    if category_id is not None:
        statement = statement.where(Product.category_id == category_id)
    if sold_out:
        # No parameter: a plan for any value could not use the partial index.
        statement = statement.where(Product.stock == literal_column("0"))
    if after is not None:
        # The same as (name, id) > (after.name, after.id), in a form that every planner understands.
        statement = statement.where(
            Product.name >= after.name,
            or_(Product.name > after.name, Product.id > after.id),
        )
    return statement


def load_page(
    limit: int,
    after: str | None,
    category_id: int | None = None,
    *,
    sold_out: bool = False,
) -> tuple[Sequence[Product], Position | None]:
    """Load up to `limit` products, and where the next page begins; `after` is a position's text."""
    position = Position.parse(after) if after else None
    statement = page_of_products(limit + 1, position, category_id, sold_out=sold_out)
    found = get_session().scalars(statement).all()
    page = found[:limit]
    return page, Position(page[-1].name, page[-1].id) if len(found) > limit else None
