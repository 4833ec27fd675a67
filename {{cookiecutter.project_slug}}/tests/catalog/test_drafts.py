from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

# {% if cookiecutter.__cache %}
from {{ cookiecutter.package_name }}.catalog import statistics
# {% endif %}
from {{ cookiecutter.package_name }}.catalog.models import Category, Product
from {{ cookiecutter.package_name }}.core.auth import Identity, acting_as
from {{ cookiecutter.package_name }}.core.database import get_session

Record = dict[str, Any]

PRODUCTS = "/api/v1/products"
EDITOR = Identity("1", "editor", frozenset({"catalog:write"}))
# Responses to requests with credentials do not come from the cache.
CREDENTIALS = {"Authorization": "Bearer token"}


@pytest.fixture
def draft(client: FlaskClient, category: Record) -> Record:
    """Draft of a product, which is the only one."""
    new = {"sku": "K-1", "name": "Kite", "price_cents": 1, "category_id": category["id"]}
    created = client.post(PRODUCTS, json=new | {"draft": True})
    assert created.status_code == 201
    record: Record = created.get_json()
    return record


def product_count(client: FlaskClient) -> list[int]:
    """Return the number of products in all responses that have it."""
    (category,) = client.get("/api/v1/categories", headers=CREDENTIALS).get_json()
    products = client.get(PRODUCTS, headers=CREDENTIALS).get_json()["items"]
    # {% if cookiecutter.web_pages %}
    page = client.get("/products").text
    assert ("Kite" in page) == bool(products)
    assert f"Books ({len(products)})" in page
    # {% endif %}
    return [category["products"], len(products)]


def test_editors_see_drafts(client: FlaskClient, draft: Record) -> None:
    assert client.get(f"{PRODUCTS}/{draft['id']}").get_json() == draft
    assert product_count(client) == [1, 1]


def test_others_do_not_see_drafts(
    client: FlaskClient, draft: Record, login: Callable[..., None]
) -> None:
    login()
    assert client.get(f"{PRODUCTS}/{draft['id']}").status_code == 404
    assert product_count(client) == [0, 0]


@pytest.mark.usefixtures("draft")
def test_anonymous_clients_do_not_see_drafts(
    client: FlaskClient, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("anonymous")
    assert product_count(client) == [0, 0]


def test_published_draft_is_visible(
    client: FlaskClient, draft: Record, login: Callable[..., None]
) -> None:
    url = f"{PRODUCTS}/{draft['id']}"
    new = {name: draft[name] for name in ("sku", "name", "price_cents")}
    etag = client.get(url).headers["ETag"]
    new["category_id"] = draft["category"]["id"]
    assert client.put(url, json=new, headers={"If-Match": etag}).get_json()["draft"] is False
    login()
    assert product_count(client) == [1, 1]


# {% if cookiecutter.__cache %}
@pytest.mark.usefixtures("draft")
@pytest.mark.parametrize("path", [PRODUCTS, "/api/v1/categories", "/api/v1/statistics"])
def test_cached_responses_have_no_drafts(client: FlaskClient, path: str) -> None:
    """Also if the request of an editor is the first one."""
    assert "Kite" not in client.get(path).text
    assert client.get(f"{PRODUCTS}?limit=1").get_json()["items"] == []


@pytest.mark.usefixtures("draft")
def test_cached_query_has_no_drafts(app: Flask) -> None:
    with app.app_context(), acting_as(EDITOR):
        assert get_session().scalar(select(func.count(Product.id))) == 1
        assert [row.products for row in statistics.load_statistics()] == [0]


# {% endif %}
@pytest.mark.usefixtures("draft")
@pytest.mark.parametrize(
    "statement",
    [
        select(Product),
        select(Product.id),
        select(func.count()).select_from(Product),
        select(Category).join(Product),
        select(Category).where(Category.id.in_(select(Product.category_id))),
    ],
)
def test_every_statement_is_restricted(app: Flask, statement: Any) -> None:
    def count() -> int:
        rows = get_session().scalars(statement).all()
        return rows[0] if rows == [0] else len(rows)

    with app.app_context():
        with acting_as(None):
            assert count() == 0
            everything = statement.execution_options(unrestricted=True)
            assert get_session().scalars(everything).all()
        with acting_as(EDITOR):
            assert count() == 1
        # Commands and workers.
        assert count() == 1
