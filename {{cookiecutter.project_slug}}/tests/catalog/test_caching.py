from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

Record = dict[str, Any]
ReadLogs = Callable[[], list[Record]]

PRODUCTS = "/api/v1/products"
CATEGORIES = "/api/v1/categories"


# {% if cookiecutter.__sql %}
@pytest.mark.parametrize("path", [PRODUCTS, f"{PRODUCTS}?limit=1&sold_out=false", CATEGORIES])
# {% else %}
@pytest.mark.parametrize("path", [PRODUCTS, f"{PRODUCTS}?limit=1&sold_out=false"])
# {% endif %}
def test_cached_list_sends_no_query(
    client: FlaskClient, add_product: Callable[[str], Record], read_logs: ReadLogs, path: str
) -> None:
    add_product("apple")
    read_logs()
    computed, cached = client.get(path), client.get(path)
    assert computed.get_json() == cached.get_json()
    assert computed.headers["ETag"] == cached.headers["ETag"]
    miss, hit = read_logs()
    assert (miss["cache_misses"], miss["queries"]) == (1, 1)
    assert hit["cache_hits"] == 1
    assert "queries" not in hit


def names(client: FlaskClient) -> list[str]:
    return [product["name"] for product in client.get(PRODUCTS).get_json()["items"]]


def test_commit_invalidates_cached_lists(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    assert names(client) == ["apple"]
    add_product("beech")
    assert names(client) == ["apple", "beech"]

    fields = {name: product[name] for name in ("sku", "price_cents")}
    fields |= {"name": "cedar", "category_id": product["category"]["id"]}
    etag = client.get(url).headers["ETag"]
    changed = client.put(url, json=fields, headers={"If-Match": etag})
    assert names(client) == ["beech", "cedar"]
    client.delete(url, headers={"If-Match": changed.headers["ETag"]})
    assert names(client) == ["beech"]

    client.post(CATEGORIES, json={"name": "Art"})
    counts = {record["name"]: record["products"] for record in client.get(CATEGORIES).get_json()}
    assert counts == {"Art": 0, "Books": 1}


def test_bulk_upsert_invalidates_cached_lists(app: Flask, client: FlaskClient) -> None:
    assert client.get(CATEGORIES).get_json() == names(client) == []
    app.test_cli_runner().invoke(args=["seed"])
    assert "Hand trowel" in names(client)
    assert client.get(CATEGORIES).get_json()


def test_rejected_request_does_not_invalidate(
    client: FlaskClient, add_product: Callable[[str], Record], read_logs: ReadLogs
) -> None:
    product = add_product("apple")
    assert names(client) == ["apple"]
    duplicate = {"sku": product["sku"], "name": "x", "price_cents": 1, "category_id": 1}
    assert client.post(PRODUCTS, json=duplicate).status_code in {409, 422}
    read_logs()
    assert names(client) == ["apple"]
    assert read_logs()[0]["cache_hits"] == 1


def test_single_product_is_not_cached(
    client: FlaskClient, add_product: Callable[[str], Record], read_logs: ReadLogs
) -> None:
    url = f"{PRODUCTS}/{add_product('apple')['id']}"
    read_logs()
    for _ in range(2):
        assert client.get(url).headers["Cache-Control"] == "public, no-cache"
    assert [record["queries"] for record in read_logs()] == [1, 1]
