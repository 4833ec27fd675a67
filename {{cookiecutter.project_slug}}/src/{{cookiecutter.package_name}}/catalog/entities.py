"""What the catalog consists of, and how writes fail."""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct


class DuplicateError(Exception):
    """Another category has the name, or another product the SKU."""


class StaleError(Exception):
    """The product has been changed or deleted since it was read."""


class Category(Struct):
    """Product category."""

    # The name under which it is stored, and the tag of cached values.
    __tablename__: ClassVar = "category"

    id: int
    name: str
    products: int = 0


class Product(Struct):
    """Product. `version` counts its changes, so that two writers cannot overwrite each other."""

    __tablename__: ClassVar = "product"

    id: int
    sku: str
    name: str
    price_cents: int
    stock: int
    category: Category
    version: int
    updated_at: datetime
    # {% if cookiecutter.__auth %}
    draft: bool = False
    created_by: str | None = None
    updated_by: str | None = None
    # {% endif %}


# {% if cookiecutter.__catalog_jobs %}
class Upload(Struct):
    """Uploaded file. It is stored in the database, as web servers and workers share no disk."""

    id: int
    content: str
    report: object = None


# {% endif %}
class CategoryStatistics(Struct):
    """Numbers of a category. The prices of an empty category are null."""

    category: str
    products: int
    sold_out: int
    lowest_price_cents: int | None
    highest_price_cents: int | None
