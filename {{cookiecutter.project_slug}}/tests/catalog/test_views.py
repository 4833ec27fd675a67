from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
# {% if cookiecutter.__sql %}
from sqlalchemy import event, update
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.catalog.models import Category, Product
from {{ cookiecutter.package_name }}.core.database import get_session
# {% endif %}

Record = dict[str, Any]

PRODUCTS = "/api/v1/products"

NUL = urlsafe_b64encode(b'["\\u0000",1]').decode()
NESTED = urlsafe_b64encode(b'["a",1,' + b"[" * 300).decode()


def product_input(product: Record, **changes: object) -> Record:
    """Return the request body of a product, with changes."""
    fields = {name: product[name] for name in ("sku", "name", "price_cents")}
    return fields | {"category_id": product["category"]["id"]} | changes


def test_openapi_document_describes_the_api(client: FlaskClient) -> None:
    paths = client.get("/docs/openapi.json").get_json()["paths"]
    assert paths.keys() >= {
        "/api/v1/categories",
        "/api/v1/products",
        "/api/v1/products/{product_id}",
    }
    update = paths["/api/v1/products/{product_id}"]["put"]
    assert "ProductIn" in str(update["requestBody"])
    assert {"200", "404", "409", "412", "422", "428"} <= update["responses"].keys()


def test_categories_are_listed_by_name(client: FlaskClient) -> None:
    for name in ("Garden", "Books"):
        assert client.post("/api/v1/categories", json={"name": name}).status_code == 201
    assert [record["name"] for record in client.get("/api/v1/categories").get_json()] == [
        "Books",
        "Garden",
    ]


@pytest.mark.usefixtures("category")
def test_duplicate_category_returns_409(client: FlaskClient) -> None:
    assert client.post("/api/v1/categories", json={"name": "Books"}).status_code == 409
    assert len(client.get("/api/v1/categories").get_json()) == 1


def test_product_can_be_created_read_updated_and_deleted(
    client: FlaskClient,
    category: Record,
) -> None:
    new = {"sku": "B-1", "name": "Ferns", "price_cents": 2450, "category_id": category["id"]}
    created = client.post(PRODUCTS, json=new)
    assert created.status_code == 201
    url = created.headers["Location"]

    read = client.get(url)
    assert read.get_json() == created.get_json()
    assert read.get_json()["category"] == category

    changed = client.put(
        url,
        json=new | {"price_cents": 1},
        headers={"If-Match": read.headers["ETag"]},
    )
    assert changed.get_json()["price_cents"] == 1
    assert changed.headers["ETag"] != read.headers["ETag"]

    deleted = client.delete(url, headers={"If-Match": changed.headers["ETag"]})
    assert deleted.status_code == 204
    assert client.get(url).status_code == 404


def test_pages_list_each_product_once(
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


def test_list_can_be_filtered_by_category(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    product = add_product("apple")
    category_id = product["category"]["id"]
    assert client.get(f"{PRODUCTS}?category_id={category_id}").get_json()["items"]
    assert not client.get(f"{PRODUCTS}?category_id={category_id + 1}").get_json()["items"]


def test_list_sends_one_query(
    app: Flask,
    client: FlaskClient,
    add_product: Callable[[str], Record],
    record_queries: Callable[..., Any],
) -> None:
    for name in ("apple", "beech", "cedar"):
        add_product(name)
    with record_queries(app) as statements:
        page = client.get(PRODUCTS).get_json()
    assert len(page["items"]) == 3
    # {% if cookiecutter.__sql %}
    assert len([statement for statement in statements if "SELECT" in statement]) == 1
    # {% else %}
    assert len(statements) == 1
    # {% endif %}


@pytest.mark.parametrize(
    "after", ["%", "bm90LWpzb24=", "WyJ4Iiwie30iXQ==", "WyJ4IiwwXQ==", NUL, NESTED]
)
def test_invalid_cursor_returns_422(client: FlaskClient, after: str) -> None:
    assert client.get(PRODUCTS, query_string={"after": after}).status_code == 422


@pytest.mark.parametrize(
    "invalid",
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
        {"color": "red"},
    ],
)
def test_invalid_product_returns_422(
    client: FlaskClient,
    category: Record,
    invalid: dict[str, object],
) -> None:
    valid = {"sku": "B-1", "name": "Ferns", "price_cents": 1, "category_id": category["id"]}
    response = client.post(PRODUCTS, json=valid | invalid)
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json(force=True)["errors"]] == list(invalid)
    assert not client.get(PRODUCTS).get_json()["items"]


def test_duplicate_sku_returns_409(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    apple, beech = add_product("apple"), add_product("beech")
    assert client.post(PRODUCTS, json=product_input(apple)).status_code == 409

    url = f"{PRODUCTS}/{beech['id']}"
    etag = client.get(url).headers["ETag"]
    changed = client.put(url, json=product_input(apple), headers={"If-Match": etag})
    assert changed.status_code == 409
    assert client.get(url).get_json() == beech


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(("match", "status"), [(None, 428), ('"0"', 412)])
def test_change_requires_current_etag(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    method: str,
    match: str | None,
    status: int,
) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    headers = {"If-Match": match} if match else {}
    response = client.open(
        url, method=method, json=product_input(product, name="x"), headers=headers
    )
    assert response.status_code == status
    assert client.get(url).get_json() == product


@pytest.mark.parametrize("if_match", ["*", "W/{etag}", '"0", {etag}'])
def test_if_match_accepts_lists_and_weak_etags(
    client: FlaskClient, add_product: Callable[[str], Record], if_match: str
) -> None:
    url = f"{PRODUCTS}/{add_product('apple')['id']}"
    etag = client.get(url).headers["ETag"]
    headers = {"If-Match": if_match.format(etag=etag)}
    assert client.delete(url, headers=headers).status_code == 204


def test_if_modified_since_returns_304(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    url = f"{PRODUCTS}/{add_product('apple')['id']}"
    modified = client.get(url).headers["Last-Modified"]
    again = client.get(url, headers={"If-Modified-Since": modified})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "public, no-cache"


def test_authorized_responses_are_private(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    for path in (f"{PRODUCTS}/{add_product('apple')['id']}", PRODUCTS, "/api/v1/categories"):
        assert "public" in client.get(path).headers["Cache-Control"]
        headers = client.get(path, headers={"Authorization": "Bearer secret"}).headers
        assert headers["Cache-Control"] == "private, no-cache"


# {% if cookiecutter.__sql %}
def test_concurrent_change_returns_412(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    product = add_product("apple")
    url = f"{PRODUCTS}/{product['id']}"
    etag = client.get(url).headers["ETag"]

    # Another transaction changes the row after this one has read it.
    @event.listens_for(Session, "before_flush", once=True)
    def overtake(session: Session, *_: object) -> None:
        session.connection().execute(update(Product).values(version=Product.version + 1))

    response = client.put(url, json=product_input(product, name="late"), headers={"If-Match": etag})
    assert response.status_code == 412
    assert client.get(url).get_json() == product


# {% endif %}
def test_if_none_match_returns_304(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    for url in (f"{PRODUCTS}/{add_product('apple')['id']}", PRODUCTS):
        etag = client.get(url).headers["ETag"]
        for method in ("GET", "HEAD"):
            again = client.open(url, method=method, headers={"If-None-Match": etag})
            assert (again.status_code, again.data) == (304, b"")
        assert client.get(url, headers={"If-None-Match": '"old"'}).status_code == 200
        assert client.get(url, headers={"If-Match": "*"}).status_code == 200


# {% if cookiecutter.__sql %}
def test_failed_request_is_rolled_back(app: Flask, client: FlaskClient) -> None:
    def fail() -> str:
        get_session().add(Category(name="Books"))
        get_session().flush()
        raise LookupError

    with pytest.raises(LookupError), app.test_request_context():
        fail()
    assert client.get("/api/v1/categories").get_json() == []


# {% endif %}
def test_ids_are_not_reused(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    old = add_product("apple")
    headers = {"If-Match": client.get(f"{PRODUCTS}/{old['id']}").headers["ETag"]}
    assert client.delete(f"{PRODUCTS}/{old['id']}", headers=headers).status_code == 204
    assert add_product("beech")["id"] != old["id"]


def test_id_out_of_range_returns_404(client: FlaskClient) -> None:
    assert client.get(f"{PRODUCTS}/{2**63}").status_code == 404
