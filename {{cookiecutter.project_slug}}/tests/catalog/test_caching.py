from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

Record = dict[str, Any]
Logged = Callable[[], list[Record]]

PRODUCTS = "/api/v1/products"
CATEGORIES = "/api/v1/categories"


@pytest.mark.parametrize("path", [PRODUCTS, f"{PRODUCTS}?limit=1&sold_out=false", CATEGORIES])
def test_a_list_is_answered_without_the_database(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    logged: Logged,
    path: str,
) -> None:
    add_product("apple")
    logged()
    made, kept = client.get(path), client.get(path)
    assert made.get_json() == kept.get_json()
    assert made.headers["ETag"] == kept.headers["ETag"]
    first, second = logged()
    assert (first["cache_misses"], first["queries"]) == (1, 1)
    assert second["cache_hits"] == 1
    assert "queries" not in second


def names(client: FlaskClient) -> list[str]:
    return [product["name"] for product in client.get(PRODUCTS).get_json()["items"]]


def test_each_change_is_seen_at_once(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    product = add_product("apple")
    address = f"{PRODUCTS}/{product['id']}"
    assert names(client) == ["apple"]
    add_product("beech")
    assert names(client) == ["apple", "beech"]

    given = {name: product[name] for name in ("sku", "price_cents")}
    given |= {"name": "cedar", "category_id": product["category"]["id"]}
    etag = client.get(address).headers["ETag"]
    changed = client.put(address, json=given, headers={"If-Match": etag})
    assert names(client) == ["beech", "cedar"]
    client.delete(address, headers={"If-Match": changed.headers["ETag"]})
    assert names(client) == ["beech"]

    client.post(CATEGORIES, json={"name": "Art"})
    counts = {record["name"]: record["products"] for record in client.get(CATEGORIES).get_json()}
    assert counts == {"Art": 0, "Books": 1}


def test_many_changes_at_once_are_seen(app: Flask, client: FlaskClient) -> None:
    assert client.get(CATEGORIES).get_json() == names(client) == []
    app.test_cli_runner().invoke(args=["seed"])
    assert "Hand trowel" in names(client)
    assert client.get(CATEGORIES).get_json()


def test_what_was_refused_changes_nothing(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    logged: Logged,
) -> None:
    product = add_product("apple")
    assert names(client) == ["apple"]
    given = {"sku": product["sku"], "name": "x", "price_cents": 1, "category_id": 1}
    assert client.post(PRODUCTS, json=given).status_code in {409, 422}
    logged()
    assert names(client) == ["apple"]
    assert logged()[0]["cache_hits"] == 1


def test_a_product_is_checked_each_time(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    logged: Logged,
) -> None:
    address = f"{PRODUCTS}/{add_product('apple')['id']}"
    logged()
    for _ in range(2):
        assert client.get(address).headers["Cache-Control"] == "public, no-cache"
    assert [record["queries"] for record in logged()] == [1, 1]


def test_a_bad_question_is_not_answered_from_the_cache(client: FlaskClient) -> None:
    for _ in range(2):
        answer = client.get(f"{PRODUCTS}?limit=0")
        assert answer.status_code == 422
        assert "public" not in answer.headers["Cache-Control"]
