"""The catalog's API, below /api/v1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, url_for
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import Conflict, NotFound, PreconditionFailed, PreconditionRequired
from werkzeug.http import http_date, parse_date, parse_etags

from ..api import operation
from ..database import get_session
from ..errors import InvalidInput, Problem
from ..http_caching import public
from . import queries
from .models import Category, Product
from .schemas import (
    CategoryCount,
    CategoryInput,
    CategoryOutput,
    Precondition,
    ProductInput,
    ProductOutput,
    ProductPage,
    ProductQuery,
)

blueprint = Blueprint("catalog", __name__, url_prefix="/api/v1")

CHANGED = "The product has changed since: read it again."

PRODUCT = "/products/<int(max=2147483647):product_id>"


@blueprint.get("/categories")
@public()
@operation("Categories", {200: list[CategoryCount]})
def list_categories() -> list[CategoryCount]:
    """List all categories, with the number of their products."""
    found = get_session().execute(queries.all_categories())
    return [CategoryCount(category.id, category.name, products) for category, products in found]


@blueprint.post("/categories")
@operation("Categories", {201: CategoryOutput, 409: Problem})
def create_category(json: CategoryInput) -> tuple[Category, int]:
    """Add a category; 409 when its name is taken."""
    category = Category(name=json.name)
    with saving("A category of this name is there already."):
        get_session().add(category)
    return category, 201


@blueprint.get("/products")
@public()
@operation("Products", {200: ProductPage})
def list_products(query: ProductQuery) -> dict[str, Any]:
    """List products by name, a page at a time."""
    page, position = queries.load_page(
        query.limit,
        query.after,
        query.category_id,
        sold_out=query.sold_out,
    )
    return {"items": page, "next": str(position) if position else None}


@blueprint.post("/products")
@operation("Products", {201: ProductOutput, 409: Problem})
def create_product(json: ProductInput) -> tuple[Product, int, dict[str, str]]:
    """Add a product; 409 when its SKU is taken."""
    product = Product()
    with saving("A product with this SKU is there already."):
        write(product, json)
        get_session().add(product)
    location = url_for(".read_product", product_id=product.id)
    return product, 201, {**validators(product), "Location": location}


@blueprint.get(PRODUCT)
@public(is_checked=True)
@operation("Products", {200: ProductOutput, 404: Problem})
def read_product(product_id: int) -> tuple[Product, int, dict[str, str]]:
    """Show a product; its `ETag` is what a later change must name."""
    product = find(product_id)
    return product, 200, validators(product)


@blueprint.put(PRODUCT)
@operation("Products", {200: ProductOutput, 404: Problem, 409: Problem, 412: Problem, 428: Problem})
def update_product(
    product_id: int,
    headers: Precondition,
    json: ProductInput,
) -> tuple[Product, int, dict[str, str]]:
    """Replace a product, if it is still as its precondition says."""
    product = find_unchanged(product_id, headers)
    with saving("A product with this SKU is there already."):
        write(product, json)
    return product, 200, validators(product)


@blueprint.delete(PRODUCT)
@operation("Products", {204: None, 404: Problem, 412: Problem, 428: Problem})
def delete_product(product_id: int, headers: Precondition) -> tuple[None, int]:
    """Remove a product, if it is still as its precondition says."""
    product = find_unchanged(product_id, headers)
    with saving("Something still refers to this product."):
        get_session().delete(product)
    return None, 204


def find(product_id: int) -> Product:
    """Load a product, or answer 404."""
    product = get_session().scalar(queries.one_product(product_id))
    if product is None:
        raise NotFound("There is no such product.")
    return product


def find_unchanged(product_id: int, headers: Precondition) -> Product:
    """Load a product that the client has seen in its present version (RFC 9110, section 13.2.2)."""
    product = find(product_id)
    version = str(product.version)
    seen = parse_date(headers.if_unmodified_since)
    if headers.if_match:
        # A proxy that compresses makes an `ETag` weak; ours names a version, not bytes.
        is_seen = parse_etags(headers.if_match).contains_weak(version)
    elif seen:
        is_seen = product.updated_at <= seen
    else:
        raise PreconditionRequired("Name the version to change: send its `ETag` as `If-Match`.")
    if not is_seen or parse_etags(headers.if_none_match).contains_weak(version):
        raise PreconditionFailed(CHANGED)
    return product


def validators(product: Product) -> dict[str, str]:
    """Name a product's version: strongly, and by its time, which two changes may share."""
    return {"ETag": f'"{product.version}"', "Last-Modified": http_date(product.updated_at)}


def write(product: Product, given: ProductInput) -> None:
    """Take over what a client sent."""
    category = get_session().get(Category, given.category_id)
    if category is None:
        raise InvalidInput([{"field": "category_id", "problem": "There is no such category"}])
    product.category = category
    product.sku = given.sku
    product.name = given.name
    product.price_cents = given.price_cents
    product.stock = given.stock


@contextmanager
def saving(conflict: str) -> Iterator[None]:
    """Commit what the block did; 409 for a broken constraint, 412 when somebody else was faster."""
    try:
        yield
        get_session().commit()
    except IntegrityError:
        raise Conflict(conflict) from None
    except StaleDataError:
        raise PreconditionFailed(CHANGED) from None
