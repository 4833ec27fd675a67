import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.catalog import cassandra
from {{ cookiecutter.package_name }}.catalog.entities import (
    DuplicateError,
    Product,
)
from {{ cookiecutter.package_name }}.catalog.schemas import ProductIn
from {{ cookiecutter.package_name }}.core.cassandra import batch, get_client

Record = dict[str, Any]

PRODUCTS = "/api/v1/products"


@pytest.fixture
def _conditions(app: Flask) -> None:
    """Skip a test on a server that is too old."""
    with app.app_context():
        if not get_client().has_conditions:
            pytest.skip("the server has no lightweight transactions")


def count_products() -> int:
    statement, client = cassandra.SELECT_BUCKET, get_client()
    rows = [client.execute(statement, "all", bucket) for bucket in range(cassandra.BUCKETS)]
    return sum(map(len, rows))


def find(sku: str) -> Product:
    product = cassandra.find_claims([sku])[sku].product
    assert product
    return product


def product_input(product: Record, **changes: object) -> Record:
    fields = {name: product[name] for name in ("sku", "name", "price_cents")}
    return fields | {"category_id": product["category"]["id"]} | changes


def test_products_are_saved_in_batches(app: Flask) -> None:
    with app.app_context():
        category = cassandra.insert_category("Books")

        def products() -> Iterator[ProductIn]:
            for number in range(2 * cassandra.BATCH_SIZE):
                if number % cassandra.BATCH_SIZE == 0:
                    assert count_products() == number
                yield ProductIn(f"P-{number}", "Pen", 100, category.id)

        assert cassandra.save_products(products()) == 2 * cassandra.BATCH_SIZE
        assert count_products() == 2 * cassandra.BATCH_SIZE


def test_existing_product_is_updated(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        category_id = cassandra.insert_category("Books").id
        cassandra.save_products([ProductIn("P-1", "Pen", 100, category_id)])
        first = find("P-1")
        cassandra.save_products(
            ProductIn(sku, name, 200, category_id, 7)
            for sku, name in [("P-1", "Red pen"), ("P-2", "Blue pen")]
        )
    blue, red = client.get(PRODUCTS).get_json()["items"]
    assert (blue["sku"], red["sku"]) == ("P-2", "P-1")
    assert (red["name"], red["price_cents"], red["stock"]) == ("Red pen", 200, 7)
    assert red["id"] == first.id


def test_last_of_several_rows_with_a_sku_is_saved(app: Flask) -> None:
    with app.app_context():
        category_id = cassandra.insert_category("Books").id
        given = (ProductIn("P-1", name, 1, category_id) for name in "abc")
        assert cassandra.save_products(given) == 3
        assert find("P-1").name == "c"
        assert count_products() == 1


@pytest.mark.usefixtures("_conditions")
def test_batch_is_repeated_after_a_concurrent_insert(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        category = cassandra.insert_category("Books")
        find_claims = cassandra.find_claims

        def overtake(skus: list[str]) -> Any:
            claims = find_claims(skus)
            monkeypatch.undo()
            cassandra.insert_product(ProductIn("P-1", "Other", 1, category.id), category)
            return claims

        monkeypatch.setattr(cassandra, "find_claims", overtake)
        assert cassandra.save_products([ProductIn("P-1", "Pen", 100, category.id)]) == 1
        assert find("P-1").name == "Pen"
        assert count_products() == 1


@pytest.mark.usefixtures("_conditions")
def test_only_one_of_concurrent_inserts_gets_a_sku(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        category = cassandra.insert_category("Books")
    results = []
    find_claims = cassandra.find_claims
    barrier = threading.Barrier(8)

    def find_none(skus: list[str]) -> Any:
        """Return when all threads have found that the SKU is free."""
        claims = find_claims(skus)
        barrier.wait(timeout=10)
        return claims

    monkeypatch.setattr(cassandra, "find_claims", find_none)

    def insert() -> None:
        with app.app_context():
            try:
                cassandra.insert_product(ProductIn("P-1", "Pen", 100, category.id), category)
                results.append("inserted")
            except DuplicateError:
                results.append("duplicate")

    threads = [threading.Thread(target=insert) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["duplicate"] * 7 + ["inserted"]
    with app.app_context():
        assert count_products() == 1


@pytest.mark.usefixtures("_conditions")
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
    find_product = cassandra.find_product

    def overtake(product_id: int) -> Any:
        found = find_product(product_id)
        monkeypatch.undo()
        early = product_input(product, name="early")
        assert client.put(url, json=early, headers={"If-Match": etag}).status_code == 200
        return found

    monkeypatch.setattr(cassandra, "find_product", overtake)
    late = product_input(product, name="late")
    response = client.open(url, method=method, json=late, headers={"If-Match": etag})
    assert response.status_code == 412
    assert client.get(url).get_json()["name"] == "early"
    assert [item["name"] for item in client.get(PRODUCTS).get_json()["items"]] == ["early"]


def test_sku_of_a_deleted_product_is_free(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    url = f"{PRODUCTS}/{add_product('apple')['id']}"
    headers = {"If-Match": client.get(url).headers["ETag"]}
    assert client.delete(url, headers=headers).status_code == 204
    assert add_product("apple")["sku"] == "APPLE"


def test_sku_that_a_crash_has_left_is_free(app: Flask) -> None:
    with app.app_context():
        category = cassandra.insert_category("Books")
        product = cassandra.insert_product(ProductIn("P-1", "Pen", 1, category.id), category)
        get_client().execute(cassandra.DELETE_PRODUCT, product.id)
        again = cassandra.insert_product(ProductIn("P-1", "Pen", 2, category.id), category)
        assert find("P-1").id == again.id


def test_changed_sku_is_released(client: FlaskClient, add_product: Callable[[str], Record]) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    headers = {"If-Match": client.get(url).headers["ETag"]}
    changed = client.put(url, json=product_input(product, sku="PEAR"), headers=headers)
    assert changed.get_json()["sku"] == "PEAR"
    assert add_product("apple")["id"] != product["id"]


def test_list_of_sold_out_products_follows_the_stock(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    assert client.get(f"{PRODUCTS}?sold_out=true").get_json()["items"]
    headers = {"If-Match": client.get(url).headers["ETag"]}
    client.put(url, json=product_input(product, stock=3), headers=headers)
    assert not client.get(f"{PRODUCTS}?sold_out=true").get_json()["items"]
    assert client.get(PRODUCTS).get_json()["items"][0]["stock"] == 3


@pytest.mark.usefixtures("_conditions")
def test_late_change_of_lists_does_not_undo_a_newer_one(
    app: Flask, client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    add_product("apple")
    with app.app_context():
        category = next(cassandra.load_all_categories())
        first = find("APPLE")
        beech = ProductIn("APPLE", "beech", 1, category.id)
        cedar = ProductIn("APPLE", "cedar", 1, category.id)
        second = cassandra.new_product(beech, category, first)
        third = cassandra.new_product(cedar, category, second)
        database = get_client()
        for change in [(second, third), (first, second)]:
            database.execute_if(batch(cassandra.move(database, *change)))
        database.execute_if(batch(cassandra.move(database, first, None)))
    assert [item["name"] for item in client.get(PRODUCTS).get_json()["items"]] == ["cedar"]


def test_recount_corrects_the_statistics(app: Flask, add_product: Callable[[str], Record]) -> None:
    add_product("apple")
    with app.app_context():
        get_client().execute(cassandra.UPDATE_COUNTS, 7, 7, 1, 9, cassandra.ALL, "Books")
    assert app.test_cli_runner().invoke(args=["recount"]).exit_code == 0
    with app.app_context():
        (books,) = cassandra.load_statistics()
    assert (books.products, books.sold_out) == (1, 1)
    assert (books.lowest_price_cents, books.highest_price_cents) == (1250, 1250)


def test_migrations_run_once(app: Flask) -> None:
    runner = app.test_cli_runner()
    assert runner.invoke(args=["db", "upgrade"]).output == ""
    status = runner.invoke(args=["db", "status", "--check"])
    assert (status.exit_code, status.output) == (0, "All migrations have been applied.\n")
