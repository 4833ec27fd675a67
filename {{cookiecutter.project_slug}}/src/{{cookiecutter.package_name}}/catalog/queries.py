"""Every query of the catalog, in one place; what a caller reads of a product is loaded with it."""

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import joinedload

from .models import Category, Product
from .schemas import Position


def all_categories() -> Select[Category]:
    """Order the categories by name."""
    return select(Category).order_by(Category.name)


def one_product(product_id: int) -> Select[Product]:
    """Find a product, with its category."""
    return select(Product).options(joinedload(Product.category)).where(Product.id == product_id)


def page_of_products(
    limit: int,
    after: Position | None = None,
    category_id: int | None = None,
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
    if after is not None:
        statement = statement.where(
            tuple_(Product.name, Product.id) > tuple_(after.name, after.id),
        )
    return statement
