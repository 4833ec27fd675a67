"""Bulk upsert of products."""

from collections.abc import Iterable
from itertools import islice

from msgspec.structs import asdict
from sqlalchemy import literal_column

from ..core.database import get_dialect, get_session
from .models import Product
from .schemas import ProductIn

BATCH_SIZE = 1000


def save_products(products: Iterable[ProductIn]) -> int:
    """Insert products, or update those with the same SKU, and return their number.

    Rows are sent in batches, so memory use does not depend on the number of products.
    """
    statement = get_dialect().upsert(
        Product.__table__,
        "sku",
        ["name", "price_cents", "category_id", "stock"],
        {"version": Product.version + literal_column("1")},
    )
    rows = ({**asdict(product), "version": 1} for product in products)
    saved = 0
    while batch := list(islice(rows, BATCH_SIZE)):
        get_session().execute(statement, batch)
        saved += len(batch)
    return saved
