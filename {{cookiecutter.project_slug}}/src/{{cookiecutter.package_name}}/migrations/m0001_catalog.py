"""The indexes of the catalog."""

from typing import Any

from pymongo.database import Database


def upgrade(database: Database[dict[str, Any]]) -> None:
    """Create the indexes; an index that exists is not created again."""
    categories, products = database["category"], database["product"]
    for collection in (categories, products, database["upload"]):
        collection.create_index("id", name="id", unique=True)
    categories.create_index("name", name="name", unique=True)
    products.create_index("sku", name="sku", unique=True)
    # The orders in which the list is paged: all products, those of a category, sold-out ones.
    products.create_index(["name", "id"], name="name_id")
    products.create_index(["category.id", "name", "id"], name="category_name_id")
    products.create_index(["stock", "name", "id"], name="stock_name_id")
    database["upload"].create_index("created_at", name="created_at")
