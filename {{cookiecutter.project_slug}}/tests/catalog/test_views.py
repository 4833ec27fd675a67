from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, update
from sqlalchemy.orm import Session
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.catalog.models import Category, Product
from {{ cookiecutter.package_name }}.database import get_engine, get_session

Record = dict[str, Any]

PRODUCTS = "/api/v1/products"

NUL = urlsafe_b64encode(b'["\\u0000",1]').decode()
NESTED = urlsafe_b64encode(b'["a",1,' + b"[" * 300).decode()


@contextmanager
def counted_queries(app: Flask) -> Iterator[list[str]]:
    """Collect the statements that a block sends."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    with app.app_context():
        engine = get_engine()
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def given(product: Record, **changes: object) -> Record:
    """Make the input that describes a product, with changes."""
    fields = {name: product[name] for name in ("sku", "name", "price_cents")}
    return fields | {"category_id": product["category"]["id"]} | changes


def test_the_api_is_documented(client: FlaskClient) -> None:
    paths = client.get("/docs/openapi.json").get_json()["paths"]
    assert paths.keys() >= {
        "/api/v1/categories",
        "/api/v1/products",
        "/api/v1/products/{product_id}",
    }
    update = paths["/api/v1/products/{product_id}"]["put"]
    assert "ProductInput" in str(update["requestBody"])
    assert {"200", "404", "409", "412", "422", "428"} <= update["responses"].keys()


def test_categories_are_listed_by_name(client: FlaskClient) -> None:
    for name in ("Garden", "Books"):
        assert client.post("/api/v1/categories", json={"name": name}).status_code == 201
    assert [record["name"] for record in client.get("/api/v1/categories").get_json()] == [
        "Books",
        "Garden",
    ]


@pytest.mark.usefixtures("category")
def test_a_category_s_name_is_taken_once(client: FlaskClient) -> None:
    assert client.post("/api/v1/categories", json={"name": "Books"}).status_code == 409
    assert len(client.get("/api/v1/categories").get_json()) == 1


def test_a_product_is_created_read_changed_and_deleted(
    client: FlaskClient,
    category: Record,
) -> None:
    new = {"sku": "B-1", "name": "Ferns", "price_cents": 2450, "category_id": category["id"]}
    created = client.post(PRODUCTS, json=new)
    assert created.status_code == 201
    address = created.headers["Location"]

    read = client.get(address)
    assert read.get_json() == created.get_json()
    assert read.get_json()["category"] == category

    changed = client.put(
        address,
        json=new | {"price_cents": 1},
        headers={"If-Match": read.headers["ETag"]},
    )
    assert changed.get_json()["price_cents"] == 1
    assert changed.headers["ETag"] != read.headers["ETag"]

    deleted = client.delete(address, headers={"If-Match": changed.headers["ETag"]})
    assert deleted.status_code == 204
    assert client.get(address).status_code == 404


def test_a_list_goes_on_where_the_page_before_ended(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    names = ["apple", "beech", "cedar", "dogwood", "elder"]
    for name in reversed(names):
        add_product(name)

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while query.get("after", "") is not None:
        page = client.get(PRODUCTS, query_string=query).get_json()
        assert len(page["items"]) <= 2
        seen += [product["name"] for product in page["items"]]
        query["after"] = page["next"]
    assert seen == names


def test_products_of_one_category(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    product = add_product("apple")
    mine = product["category"]["id"]
    assert client.get(PRODUCTS, query_string={"category_id": mine}).get_json()["items"]
    assert not client.get(PRODUCTS, query_string={"category_id": mine + 1}).get_json()["items"]


def test_a_list_of_any_length_takes_one_query(
    app: Flask,
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    for name in ("apple", "beech", "cedar"):
        add_product(name)
    with counted_queries(app) as statements:
        page = client.get(PRODUCTS).get_json()
    assert len(page["items"]) == 3
    assert len([statement for statement in statements if "SELECT" in statement]) == 1


@pytest.mark.parametrize(
    "after", ["%", "bm90LWpzb24=", "WyJ4Iiwie30iXQ==", "WyJ4IiwwXQ==", NUL, NESTED]
)
def test_a_position_that_we_did_not_make_is_refused(client: FlaskClient, after: str) -> None:
    assert client.get(PRODUCTS, query_string={"after": after}).status_code == 422


@pytest.mark.parametrize(
    "fault",
    [
        {"sku": "lower case"},
        {"name": ""},
        {"name": "line\nbreak"},
        {"name": "last line break\n"},
        {"sku": "A" * 40 + "\n"},
        {"name": "nul\x00"},
        {"price_cents": -1},
        {"price_cents": 2**31},
        {"category_id": 2**31 - 1},
        {"colour": "red"},
    ],
)
def test_bad_products_are_refused(
    client: FlaskClient,
    category: Record,
    fault: dict[str, object],
) -> None:
    good = {"sku": "B-1", "name": "Ferns", "price_cents": 1, "category_id": category["id"]}
    answer = client.post(PRODUCTS, json=good | fault)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json(force=True)["errors"]] == list(fault)
    assert not client.get(PRODUCTS).get_json()["items"]


def test_a_sku_is_taken_once(client: FlaskClient, add_product: Callable[[str], Record]) -> None:
    apple, beech = add_product("apple"), add_product("beech")
    assert client.post(PRODUCTS, json=given(apple)).status_code == 409

    address = f"{PRODUCTS}/{beech['id']}"
    etag = client.get(address).headers["ETag"]
    changed = client.put(address, json=given(apple), headers={"If-Match": etag})
    assert changed.status_code == 409
    assert client.get(address).get_json() == beech


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(("match", "status"), [(None, 428), ('"0"', 412)])
def test_a_change_must_name_the_present_version(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    method: str,
    match: str | None,
    status: int,
) -> None:
    product = add_product("apple")
    address = f"{PRODUCTS}/{product['id']}"
    headers = {"If-Match": match} if match else {}
    answer = client.open(address, method=method, json=given(product, name="x"), headers=headers)
    assert answer.status_code == status
    assert client.get(address).get_json() == product


def condition(product: TestResponse, name: str, *, is_met: bool) -> dict[str, str]:
    """Make a precondition from a product's own answer."""
    changed = product.last_modified
    assert changed
    etag = product.headers["ETag"]
    values = {
        # A proxy that compresses has made it weak.
        "If-Match": f'"0", W/{etag}' if is_met else f'"0{etag[1:]}',
        "If-None-Match": '"0"' if is_met else f'"0", W/{etag}',
        "If-Unmodified-Since": http_date(changed - timedelta(seconds=not is_met)),
    }
    return {name: values[name]}


@pytest.mark.parametrize("name", ["If-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize(("is_met", "status"), [(True, 204), (False, 412)])
def test_a_version_is_named_by_its_etag_or_its_time(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    name: str,
    status: int,
    *,
    is_met: bool,
) -> None:
    address = f"{PRODUCTS}/{add_product('apple')['id']}"
    headers = condition(client.get(address), name, is_met=is_met)
    assert client.delete(address, headers=headers).status_code == status
    assert client.get(address).status_code == (404 if status == 204 else 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 204),
        ({"If-Match": "*", "If-None-Match": "*"}, 412),
        ({"If-Match": "*", "If-None-Match": '"0"'}, 204),
        # The stronger of the two decides, and what is no date is no condition.
        ({"If-Match": '"0"', "If-Unmodified-Since": "Fri, 31 Dec 2100 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "soon"}, 428),
        ({"If-None-Match": '"0"'}, 428),
    ],
)
def test_preconditions_go_together(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    headers: dict[str, str],
    status: int,
) -> None:
    address = f"{PRODUCTS}/{add_product('apple')['id']}"
    assert client.delete(address, headers=headers).status_code == status


def test_a_product_that_was_not_changed_since_is_not_sent_again(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    address = f"{PRODUCTS}/{add_product('apple')['id']}"
    moment = client.get(address).headers["Last-Modified"]
    again = client.get(address, headers={"If-Modified-Since": moment})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "public, no-cache"


def test_nobody_keeps_a_catalog_that_somebody_who_is_known_asked_for(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    for path in (f"{PRODUCTS}/{add_product('apple')['id']}", PRODUCTS, "/api/v1/categories"):
        assert "public" in client.get(path).headers["Cache-Control"]
        headers = client.get(path, headers={"Authorization": "Bearer secret"}).headers
        assert headers["Cache-Control"] == "private, no-cache"


def test_the_slower_of_two_writers_is_told(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    product = add_product("apple")
    address = f"{PRODUCTS}/{product['id']}"
    etag = client.get(address).headers["ETag"]

    # As if another writer had been here between our reading the row and our writing it.
    @event.listens_for(Session, "before_flush", once=True)
    def overtake(session: Session, *_: object) -> None:
        session.connection().execute(update(Product).values(version=Product.version + 1))

    answer = client.put(address, json=given(product, name="mine"), headers={"If-Match": etag})
    assert answer.status_code == 412
    assert client.get(address).get_json() == product


def test_a_client_that_has_it_gets_no_body_again(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    for address in (f"{PRODUCTS}/{add_product('apple')['id']}", PRODUCTS):
        etag = client.get(address).headers["ETag"]
        for method in ("GET", "HEAD"):
            again = client.open(address, method=method, headers={"If-None-Match": etag})
            assert (again.status_code, again.data) == (304, b"")
        assert client.get(address, headers={"If-None-Match": '"old"'}).status_code == 200
        assert client.get(address, headers={"If-Match": "*"}).status_code == 200


def test_what_a_failed_request_did_is_undone(app: Flask, client: FlaskClient) -> None:
    def fail() -> str:
        get_session().add(Category(name="Books"))
        get_session().flush()
        raise LookupError

    with pytest.raises(LookupError), app.test_request_context():
        fail()
    assert client.get("/api/v1/categories").get_json() == []


def test_an_id_is_not_used_again(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    old = add_product("apple")
    headers = {"If-Match": client.get(f"{PRODUCTS}/{old['id']}").headers["ETag"]}
    assert client.delete(f"{PRODUCTS}/{old['id']}", headers=headers).status_code == 204
    assert add_product("beech")["id"] != old["id"]


def test_an_id_that_no_row_can_have_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"{PRODUCTS}/{2**63}").status_code == 404
