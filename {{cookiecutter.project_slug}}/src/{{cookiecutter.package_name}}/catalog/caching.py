"""What of the catalog is kept in the cache. A commit that changes a table makes it be forgotten."""

from flask import Flask

from ..cache import keep_view
from .models import Category, Product

TABLES = (Category.__tablename__, Product.__tablename__)


def init_app(app: Flask) -> None:
    """Keep the lists; the statistics keep themselves."""
    for endpoint in ("catalog.list_categories", "catalog.list_products"):
        keep_view(app, endpoint, *TABLES)
