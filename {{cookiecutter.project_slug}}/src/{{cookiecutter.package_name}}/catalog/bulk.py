"""Bulk upsert of products."""

from collections.abc import Iterable
from itertools import islice

from msgspec.structs import asdict
from sqlalchemy import literal_column

from ..core.database import get_dialect, get_session
from .models import Product
from .schemas import ProductIn

# {% if cookiecutter.database == "postgresql" %}
# A batch is one statement. Larger batches are hardly faster and need more memory.
BATCH_SIZE = 2000
# {% else %}
BATCH_SIZE = 1000
# {% endif %}


def save_products(products: Iterable[ProductIn]) -> int:
    """Insert products, or update those with the same SKU, and return their number.

    Rows are sent in batches, so memory use does not depend on the number of products.
    """
    dialect = get_dialect()
    statement = dialect.upsert(
        Product.__table__,
        "sku",
        ["name", "price_cents", "category_id", "stock"],
        {"version": Product.version + literal_column("1")},
    )
    rows = ({**asdict(product), "version": 1} for product in products)
    saved = 0
    while batch := list(islice(rows, BATCH_SIZE)):
        dialect.execute_upsert(get_session(), statement, "sku", batch)
        saved += len(batch)
    return saved
