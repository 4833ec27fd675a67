"""What the CDN can be told to forget of the catalog; the cache's tags have the same names."""

from flask import Flask

from ..cdn import tag_view
from .models import Category, Product


def init_app(app: Flask) -> None:
    """Tag the lists with the tables that they are made of."""
    for endpoint in ("catalog.list_categories", "catalog.list_products"):
        tag_view(app, endpoint, Category.__tablename__, Product.__tablename__)
