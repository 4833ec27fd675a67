from collections.abc import Callable
from typing import Annotated

import pytest
from flask import Flask
from flask.testing import FlaskClient
from msgspec import Meta, Struct

from {{ cookiecutter.package_name }}.api import operation


class Order(Struct, forbid_unknown_fields=True):
    item: Annotated[str, Meta(min_length=1)]
    amount: Annotated[int, Meta(ge=1)] = 1


class Receipt(Struct):
    total: int


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.post("/orders")
    @operation("Orders", {201: Receipt})
    def create(json: Order) -> tuple[object, int]:
        return {"total": json.amount if json.item != "broken" else "many"}, 201

    @app.get("/orders")
    @operation("Orders", {200: Receipt})
    def read(query: Order) -> Receipt:
        return Receipt(query.amount)

    return app.test_client()


def test_good_input_goes_through(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"item": "pen", "amount": 3})
    assert (response.status_code, response.json) == (201, {"total": 3})
    assert shop.get("/orders?item=pen&amount=2").json == {"total": 2}


def test_every_fault_is_named(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"amount": 0, "colour": "red"})
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json(force=True)["errors"]] == [
        "colour",
        "item",
        "amount",
    ]
    response = shop.get("/orders?item=")
    assert [error["field"] for error in response.get_json(force=True)["errors"]] == ["item"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"item": "pen"}', "text/plain", 415),
        (b'{"item": ', "application/json", 400),
        (b"", "application/json", 400),
        (b"null", "application/json", 422),
        (b'["pen"]', "application/json", 422),
    ],
)
def test_other_bodies_are_refused(
    shop: FlaskClient,
    body: bytes,
    content_type: str,
    status: int,
) -> None:
    response = shop.post("/orders", data=body, content_type=content_type)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"


def test_wrong_output_is_an_error_that_tells_nothing(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"item": "broken"})
    assert response.status_code == 500
    assert "many" not in response.text


def test_the_page_of_the_document(client: FlaskClient) -> None:
    assert client.get("/docs/openapi.json").get_json()["openapi"].startswith("3.1")
    page = client.get("/docs", buffered=True)
    assert page.content_type.startswith("text/html")
    for asset in ("docs.js", "swagger_bundle.js", "swagger_style.css"):
        assert f"/docs/{asset}" in page.text
        assert client.get(f"/docs/{asset}", buffered=True).status_code == 200
