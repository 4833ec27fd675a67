from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.catalog.bulk import save_products
from {{ cookiecutter.package_name }}.catalog.schemas import ProductIn
from {{ cookiecutter.package_name }}.core.auth import Identity, acting_as
from {{ cookiecutter.package_name }}.core.database import get_session

Record = dict[str, Any]
Login = Callable[..., None]

PRODUCTS = "/api/v1/products"


def authors(client: FlaskClient, product_id: int) -> tuple[str | None, str | None]:
    record = client.get(f"{PRODUCTS}/{product_id}/record").get_json()
    return record["created_by"], record["updated_by"]


def test_views_record_the_author(
    client: FlaskClient, add_product: Callable[[str], Record], login: Login
) -> None:
    product = add_product("apple")
    assert authors(client, product["id"]) == ("1", "1")

    login("catalog:write", user="2")
    url = f"{PRODUCTS}/{product['id']}"
    new = {"sku": "APPLE", "name": "Red apple", "price_cents": 1}
    new["category_id"] = product["category"]["id"]
    etag = client.get(url).headers["ETag"]
    assert client.put(url, json=new, headers={"If-Match": etag}).status_code == 200
    assert authors(client, product["id"]) == ("1", "2")


def test_bulk_upsert_records_the_author(
    app: Flask, client: FlaskClient, category: Record, add_product: Callable[[str], Record]
) -> None:
    product = add_product("apple")
    with app.app_context(), acting_as(Identity("2", "importer")):
        save_products([ProductIn("APPLE", "Apple", 1, category["id"])])
        get_session().commit()
    assert authors(client, product["id"]) == ("1", "2")


def test_commands_record_no_user(app: Flask, client: FlaskClient) -> None:
    app.test_cli_runner().invoke(args=["seed"])
    product = client.get(PRODUCTS).get_json()["items"][0]
    assert authors(client, product["id"]) == (None, None)


# {% if cookiecutter.__catalog_jobs %}
def test_import_records_who_started_it(client: FlaskClient, category: Record) -> None:
    content = f"sku,name,price_cents,category_id,stock\nK-1,Kite,1,{category['id']},1\n"
    client.post(f"{PRODUCTS}/imports", data=content, content_type="text/csv")
    product = client.get(PRODUCTS).get_json()["items"][0]
    assert authors(client, product["id"]) == ("1", "1")


# {% endif %}
def test_only_editors_read_the_authors(
    client: FlaskClient, add_product: Callable[[str], Record], login: Login
) -> None:
    url = f"{PRODUCTS}/{add_product('apple')['id']}"
    record = client.get(f"{url}/record")
    assert "public" not in record.headers["Cache-Control"]
    assert record.get_json().keys() - client.get(url).get_json().keys() == {
        "created_by",
        "updated_at",
        "updated_by",
    }
    login()
    assert client.get(f"{url}/record").status_code == 403


def test_clients_cannot_set_the_author(client: FlaskClient, category: Record) -> None:
    new = {"sku": "K-1", "name": "Kite", "price_cents": 1, "category_id": category["id"]}
    assert client.post(PRODUCTS, json=new | {"created_by": "2"}).status_code == 422
