"""Many products at once: what an import or a migration of data does."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import literal_column

from ..database import get_dialect, get_session
from .models import Product
from .schemas import ProductInput

BATCH = 1000


def save_products(products: Iterable[ProductInput]) -> int:
    """Add products, or replace those whose SKU is there; return how many were given.

    They are sent in batches, so that memory stays bounded however many there are.
    """
    statement = get_dialect().upsert(
        Product.__table__,
        "sku",
        ["name", "price_cents", "category_id", "stock", "updated_at"],
        {"version": Product.version + literal_column("1")},
    )
    saved = 0
    for rows in batches(products):
        get_session().execute(statement, rows)
        saved += len(rows)
    return saved


def batches(products: Iterable[ProductInput]) -> Iterator[list[dict[str, Any]]]:
    """Cut products into lists of rows."""
    rest = iter(products)
    while batch := list(islice(rest, BATCH)):
        yield [{**asdict(product), "version": 1} for product in batch]
