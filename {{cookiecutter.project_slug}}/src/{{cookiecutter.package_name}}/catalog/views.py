"""The catalog's API, below /api/v1."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from flask import Blueprint, Response, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import Conflict, NotFound, PreconditionFailed, PreconditionRequired

from ..api import operation
from ..database import get_session
from ..errors import InvalidInput, Problem
from . import queries
from .models import Category, Product
from .schemas import (
    CategoryInput,
    CategoryOutput,
    Position,
    ProductInput,
    ProductOutput,
    ProductPage,
    ProductQuery,
    category_output,
    product_output,
)

blueprint = Blueprint("catalog", __name__, url_prefix="/api/v1")

ProductAnswer = tuple[ProductOutput, int, dict[str, str]]

PRODUCT = "/products/<int(max=2147483647):product_id>"


@blueprint.get("/categories")
@operation("Categories", {200: list[CategoryOutput]})
def list_categories() -> list[CategoryOutput]:
    """List all categories."""
    categories = get_session().scalars(queries.all_categories())
    return [category_output(category) for category in categories]


@blueprint.post("/categories")
@operation("Categories", {201: CategoryOutput, 409: Problem})
def create_category(json: CategoryInput) -> tuple[CategoryOutput, int]:
    """Add a category; 409 when its name is taken."""
    category = Category(name=json.name)
    with saving("A category of this name is there already."):
        get_session().add(category)
    return category_output(category), 201


@blueprint.get("/products")
@operation("Products", {200: ProductPage})
def list_products(query: ProductQuery) -> ProductPage:
    """List products by name, a page at a time."""
    after = Position.parse(query.after) if query.after else None
    statement = queries.page_of_products(query.limit + 1, after, query.category_id)
    found = get_session().scalars(statement).all()
    page = found[: query.limit]
    return ProductPage(
        items=[product_output(product) for product in page],
        next=str(Position(page[-1].name, page[-1].id)) if len(found) > len(page) else None,
    )


@blueprint.post("/products")
@operation("Products", {201: ProductOutput, 409: Problem})
def create_product(json: ProductInput) -> ProductAnswer:
    """Add a product; 409 when its SKU is taken."""
    product = Product()
    with saving("A product with this SKU is there already."):
        write(product, json)
        get_session().add(product)
    return product_answer(product, 201)


@blueprint.get(PRODUCT)
@operation("Products", {200: ProductOutput, 404: Problem})
def read_product(product_id: int) -> ProductAnswer:
    """Show a product; its `ETag` is what a later change must name."""
    return product_answer(find(product_id))


@blueprint.put(PRODUCT)
@operation("Products", {200: ProductOutput, 404: Problem, 409: Problem, 412: Problem, 428: Problem})
def update_product(product_id: int, json: ProductInput) -> ProductAnswer:
    """Replace a product, if it is still as the `If-Match` header says."""
    product = find_unchanged(product_id)
    with saving("A product with this SKU is there already."):
        write(product, json)
    return product_answer(product)


@blueprint.delete(PRODUCT)
@operation("Products", {204: None, 404: Problem, 412: Problem, 428: Problem})
def delete_product(product_id: int) -> tuple[str, int]:
    """Remove a product, if it is still as the `If-Match` header says."""
    product = find_unchanged(product_id)
    with saving("Something still refers to this product."):
        get_session().delete(product)
    return "", 204


@blueprint.after_request
def answer_conditionally(response: Response) -> Response:
    """Spare a client the body that it has already: 304."""
    if request.method == "GET" and response.status_code == HTTPStatus.OK:
        response.add_etag()
        response.make_conditional(request)
    return response


def find(product_id: int) -> Product:
    """Load a product, or answer 404."""
    product = get_session().scalar(queries.one_product(product_id))
    if product is None:
        raise NotFound("There is no such product.")
    return product


def find_unchanged(product_id: int) -> Product:
    """Load a product that the client has seen in its present version (RFC 9110, section 13.1.1)."""
    product = find(product_id)
    if not request.if_match:
        raise PreconditionRequired("Name the version to change: send its `ETag` as `If-Match`.")
    if str(product.version) not in request.if_match:
        raise PreconditionFailed("The product has changed since: read it again.")
    return product


def write(product: Product, given: ProductInput) -> None:
    """Take over what a client sent."""
    category = get_session().get(Category, given.category_id)
    if category is None:
        raise InvalidInput([{"field": "category_id", "problem": "There is no such category"}])
    product.category = category
    product.sku = given.sku
    product.name = given.name
    product.price_cents = given.price_cents


@contextmanager
def saving(conflict: str) -> Iterator[None]:
    """Commit what the block did; 409 for a broken constraint, 412 when somebody else was faster."""
    try:
        yield
        get_session().commit()
    except IntegrityError:
        raise Conflict(conflict) from None
    except StaleDataError:
        raise PreconditionFailed("The product has changed since: read it again.") from None


def product_answer(product: Product, status: int = 200) -> ProductAnswer:
    """Show a product with its version."""
    return product_output(product), status, {"ETag": f'"{product.version}"'}
