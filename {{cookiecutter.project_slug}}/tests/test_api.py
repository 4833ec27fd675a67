from collections.abc import Callable
from io import BytesIO
from typing import Annotated

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from msgspec import Meta, Struct

from {{ cookiecutter.package_name }}.api import Text, operation


class Order(Struct, forbid_unknown_fields=True):
    item: Annotated[str, Meta(min_length=1)]
    amount: Annotated[int, Meta(ge=1)] = 1


class Receipt(Struct):
    total: int


class Wish(Struct, rename={"prefer": "Prefer"}):
    prefer: str = ""


@operation("Orders", {201: Receipt})
def create_order(json: Order) -> tuple[object, int]:
    return {"total": json.amount if json.item != "broken" else "many"}, 201


@operation("Orders", {200: Receipt})
def read_order(query: Order) -> Receipt:
    return Receipt(query.amount)


@operation("Orders", {202: None}, Text("text/plain", "pen\n"))
def create_orders() -> tuple[None, int]:
    assert request.get_data() == b"pen\npencil\n"
    return None, 202


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False

    app.add_url_rule("/orders", view_func=create_order, methods=["POST"])
    app.add_url_rule("/orders", view_func=read_order)
    app.add_url_rule("/orders/many", view_func=create_orders, methods=["POST"])
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
    response = shop.post("/orders", json={"item": "pen", "amount": "3"})
    assert [error["field"] for error in response.get_json(force=True)["errors"]] == ["amount"]
    response = shop.get("/orders?item=")
    assert [error["field"] for error in response.get_json(force=True)["errors"]] == ["item"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"item": "pen"}', "text/plain", 415),
        (b'{"item": ', "application/json", 400),
        (b"[" * 50_000 + b"]" * 50_000, "application/json", 400),
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


def test_a_body_may_be_text(shop: FlaskClient) -> None:
    for content_type, status in [("text/plain; charset=utf-8", 202), ("application/json", 415)]:
        response = shop.post("/orders/many", data="pen\npencil\n", content_type=content_type)
        assert response.status_code == status
    documented = shop.get("/docs/openapi.json").get_json()["paths"]["/orders/many"]["post"]
    assert documented["requestBody"] == {
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "pen\n"}},
        "required": True,
    }


def test_wrong_output_is_an_error_that_tells_nothing(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"item": "broken"})
    assert response.status_code == 500
    assert "many" not in response.text


def test_the_page_of_the_document(client: FlaskClient) -> None:
    assert client.get("/docs/openapi.json").get_json()["openapi"].startswith("3.1")
    page = client.get("/docs", buffered=True)
    assert page.content_type.startswith("text/html")
    for asset in ("docs.js", "swagger/swagger-ui-bundle.js", "swagger/swagger-ui.css"):
        assert f"/docs/{asset}" in page.text
        assert client.get(f"/docs/{asset}", buffered=True).status_code == 200


def test_a_body_that_hides_its_length_is_limited_too(make_app: Callable[..., Flask]) -> None:
    app = make_app(MAX_CONTENT_LENGTH="100")
    app.add_url_rule("/orders", view_func=create_order, methods=["POST"])
    for padding, status in [(50, 201), (500, 413)]:
        body = b'{"item": "pen"}' + b" " * padding
        response = app.test_client().post(
            "/orders",
            input_stream=BytesIO(body),
            content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        )
        assert response.status_code == status


def test_each_application_has_its_own_document(make_app: Callable[..., Flask]) -> None:
    @operation("Orders", {200: list[Order]})
    def list_orders() -> list[Order]:
        return []

    @operation("Receipts", {200: list[Receipt], 204: None})
    def list_receipts(headers: Wish) -> tuple[list[Receipt] | None, int]:
        return (None, 204) if headers.prefer == "nothing" else ([], 200)

    full, empty = make_app(), make_app()
    full.add_url_rule("/orders", view_func=list_orders)
    full.add_url_rule("/orders", view_func=create_order, methods=["POST"])
    full.add_url_rule("/receipts", view_func=list_receipts)
    client = full.test_client()
    assert client.get("/orders").get_json() == []
    nothing = client.get("/receipts", headers={"Prefer": "nothing"})
    assert (nothing.status_code, nothing.data) == (204, b"")
    assert "Content-Type" not in nothing.headers

    paths = client.get("/docs/openapi.json").get_json()["paths"]
    assert "OrderList" in str(paths["/orders"]["get"])
    assert "ReceiptList" in str(paths["/receipts"])
    assert "Prefer" in str(paths["/receipts"]["get"]["parameters"])
    assert paths["/orders"]["get"]["responses"].keys() == {"200", "default"}
    assert paths["/orders"]["post"]["responses"].keys() == {"201", "422", "default"}
    assert "application/problem+json" in str(paths["/orders"]["post"]["responses"]["422"])
    assert "paths" in empty.test_client().get("/docs/openapi.json").get_json()
    assert "/orders" not in empty.test_client().get("/docs/openapi.json").get_json()["paths"]
