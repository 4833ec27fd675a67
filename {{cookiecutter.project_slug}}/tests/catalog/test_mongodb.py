import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.catalog import mongodb
from {{ cookiecutter.package_name }}.catalog.entities import DuplicateError
from {{ cookiecutter.package_name }}.catalog.schemas import ProductIn
from {{ cookiecutter.package_name }}.core.mongodb import get_database

Record = dict[str, Any]

PRODUCTS = "/api/v1/products"


def count_products() -> int:
    return get_database()["product"].count_documents({})


def test_products_are_saved_in_batches(app: Flask) -> None:
    with app.app_context():
        category = mongodb.insert_category("Books")

        def products() -> Iterator[ProductIn]:
            for number in range(3 * mongodb.BATCH_SIZE):
                if number % mongodb.BATCH_SIZE == 0:
                    assert count_products() == number
                yield ProductIn(f"P-{number}", "Pen", 100, category.id)

        assert mongodb.save_products(products()) == 3 * mongodb.BATCH_SIZE
        assert count_products() == 3 * mongodb.BATCH_SIZE


def test_existing_product_is_updated(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        category_id = mongodb.insert_category("Books").id
        mongodb.save_products([ProductIn("P-1", "Pen", 100, category_id)])
        mongodb.save_products(
            ProductIn(sku, name, 200, category_id, 7)
            for sku, name in [("P-1", "Red pen"), ("P-2", "Blue pen")]
        )
    blue, red = client.get(PRODUCTS).get_json()["items"]
    assert (blue["sku"], red["sku"]) == ("P-2", "P-1")
    assert (red["name"], red["price_cents"], red["stock"]) == ("Red pen", 200, 7)
    response = client.get(f"{PRODUCTS}/{red['id']}")
    assert response.headers["ETag"] == '"2"'
    assert "Last-Modified" in response.headers


def test_batch_is_repeated_after_a_concurrent_insert(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        category = mongodb.insert_category("Books")
        given = ProductIn("P-1", "Pen", 100, category.id)
        plan = mongodb.plan_writes

        def overtake(rows: list[Any]) -> Any:
            writes = plan(rows)
            monkeypatch.undo()
            mongodb.insert_product(ProductIn("P-1", "Other", 1, category.id), category)
            return writes

        monkeypatch.setattr(mongodb, "plan_writes", overtake)
        assert mongodb.save_products([given]) == 1
        (product,) = get_database()["product"].find()
        assert (product["name"], product["version"]) == ("Pen", 2)


def test_only_one_of_concurrent_inserts_gets_a_sku(app: Flask) -> None:
    with app.app_context():
        category = mongodb.insert_category("Books")
    results = []

    def insert() -> None:
        with app.app_context():
            try:
                mongodb.insert_product(ProductIn("P-1", "Pen", 100, category.id), category)
                results.append("inserted")
            except DuplicateError:
                results.append("duplicate")

    threads = [threading.Thread(target=insert) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["duplicate"] * 7 + ["inserted"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_concurrent_change_returns_412(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    etag = client.get(url).headers["ETag"]
    find = mongodb.find_product

    def overtake(product_id: int) -> Any:
        found = find(product_id)
        get_database()["product"].update_one({"id": product_id}, {"$inc": {"version": 1}})
        return found

    monkeypatch.setattr(mongodb, "find_product", overtake)
    fields = {name: product[name] for name in ("sku", "price_cents")}
    fields |= {"name": "late", "category_id": product["category"]["id"]}
    response = client.open(url, method=method, json=fields, headers={"If-Match": etag})
    assert response.status_code == 412
    monkeypatch.undo()
    assert client.get(url).get_json() == product


def test_bulk_upsert_uses_no_new_ids_for_known_products(app: Flask) -> None:
    with app.app_context():
        category = mongodb.insert_category("Books")
        given = [ProductIn("P-1", "Pen", 100, category.id)]
        for _ in range(3):
            mongodb.save_products(given)
        new = mongodb.insert_product(ProductIn("P-2", "Pen", 100, category.id), category)
        first = get_database()["product"].find_one({"sku": "P-1"})
        assert first
        assert new.id == first["id"] + 1
