"""API of the catalog."""

from typing import Any

from flask import Blueprint, url_for
from werkzeug.exceptions import Conflict, NotFound, PreconditionFailed, PreconditionRequired
from werkzeug.http import http_date, parse_etags

# {% if cookiecutter.__auth %}
from ..core.access import requires
# {% endif %}
from ..core.api import operation
# {% if cookiecutter.__cache %}
from ..core.cache import cache
# {% endif %}
from ..core.errors import FieldError, Problem, UnprocessableContent
from ..core.http_caching import public
from .entities import Category, DuplicateError, Product, StaleError
from .schemas import (
    CategoryCount,
    CategoryIn,
    CategoryOut,
    ConditionalHeaders,
    ProductIn,
    ProductOut,
    ProductPage,
    ProductQuery,
)
from .storage import storage

blueprint = Blueprint("catalog", __name__, url_prefix="/api/v1")

ProductResponse = tuple[Product, int, dict[str, str]]

DUPLICATE_MESSAGE = "A product with this SKU already exists."
STALE_MESSAGE = "The product has been changed. Read it again."

PRODUCT_ROUTE = "/products/<int(max=2147483647):product_id>"


@blueprint.get("/categories")
# {% if cookiecutter.__cache %}
@cache.cached(tags=(Category, Product))
# {% endif %}
# {% if cookiecutter.__cdn %}
@public(tags=(Category, Product))
# {% else %}
@public()
# {% endif %}
@operation("Categories", {200: list[CategoryCount]})
def list_categories() -> list[CategoryCount]:
    """List the categories with the number of their products."""
    return [
        CategoryCount(category.id, category.name, category.products)
        for category in storage.load_categories()
    ]


@blueprint.post("/categories")
# {% if cookiecutter.__auth %}
@requires("catalog:write")
# {% endif %}
@operation("Categories", {201: CategoryOut, 409: Problem})
def create_category(json: CategoryIn) -> tuple[Category, int]:
    """Create a category."""
    try:
        return storage.insert_category(json.name), 201
    except DuplicateError:
        raise Conflict("A category with this name already exists.") from None


@blueprint.get("/products")
# {% if cookiecutter.__cache %}
@cache.cached(tags=(Category, Product))
# {% endif %}
# {% if cookiecutter.__cdn %}
@public(tags=(Category, Product))
# {% else %}
@public()
# {% endif %}
@operation("Products", {200: ProductPage})
def list_products(query: ProductQuery) -> dict[str, Any]:
    """List products by name, one page per request."""
    page, cursor = storage.load_products(query)
    return {"items": page, "next": cursor}


@blueprint.post("/products")
# {% if cookiecutter.__auth %}
@requires("catalog:write")
# {% endif %}
@operation("Products", {201: ProductOut, 409: Problem})
def create_product(json: ProductIn) -> ProductResponse:
    """Create a product."""
    category = get_category(json)
    try:
        product = storage.insert_product(json, category)
    except DuplicateError:
        raise Conflict(DUPLICATE_MESSAGE) from None
    location = url_for(".read_product", product_id=product.id)
    return product, 201, {**validator_headers(product), "Location": location}


@blueprint.get(PRODUCT_ROUTE)
@public(revalidate=True)
@operation("Products", {200: ProductOut, 404: Problem})
def read_product(product_id: int) -> ProductResponse:
    """Return a product.

    Send its `ETag` as `If-Match` to change or delete it.
    """
    product = get_or_404(product_id)
    return product, 200, validator_headers(product)


@blueprint.put(PRODUCT_ROUTE)
# {% if cookiecutter.__auth %}
@requires("catalog:write")
# {% endif %}
@operation("Products", {200: ProductOut, 404: Problem, 409: Problem, 412: Problem, 428: Problem})
def update_product(
    product_id: int, headers: ConditionalHeaders, json: ProductIn
) -> ProductResponse:
    """Replace a product whose ETag matches If-Match."""
    product = get_if_match(product_id, headers)
    category = get_category(json)
    try:
        product = storage.replace_product(product, json, category)
    except DuplicateError:
        raise Conflict(DUPLICATE_MESSAGE) from None
    except StaleError:
        raise PreconditionFailed(STALE_MESSAGE) from None
    return product, 200, validator_headers(product)


@blueprint.delete(PRODUCT_ROUTE)
# {% if cookiecutter.__auth %}
@requires("catalog:write")
# {% endif %}
@operation("Products", {204: None, 404: Problem, 412: Problem, 428: Problem})
def delete_product(product_id: int, headers: ConditionalHeaders) -> tuple[None, int]:
    """Delete a product whose ETag matches If-Match."""
    product = get_if_match(product_id, headers)
    try:
        storage.delete_product(product)
    except StaleError:
        raise PreconditionFailed(STALE_MESSAGE) from None
    return None, 204


def get_or_404(product_id: int) -> Product:
    """Load a product, or respond with 404."""
    product = storage.find_product(product_id)
    if product is None:
        raise NotFound("There is no such product.")
    return product


def get_if_match(product_id: int, headers: ConditionalHeaders) -> Product:
    """Load a product if the client has read its current version, or respond with 412 or 428."""
    product = get_or_404(product_id)
    if not headers.if_match:
        raise PreconditionRequired("Send the product's `ETag` as `If-Match`.")
    # Weak comparison: proxies that compress responses make the ETag weak.
    if not parse_etags(headers.if_match).contains_weak(str(product.version)):
        raise PreconditionFailed(STALE_MESSAGE)
    return product


def validator_headers(product: Product) -> dict[str, str]:
    """Return the headers by which clients and caches recognize a version of a product."""
    return {"ETag": f'"{product.version}"', "Last-Modified": http_date(product.updated_at)}


def get_category(given: ProductIn) -> Category:
    """Load the category of a product, or respond with 422."""
    category = storage.find_category(given.category_id)
    if category is None:
        raise UnprocessableContent(FieldError("category_id", "There is no such category"))
    return category
