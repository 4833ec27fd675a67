import re
from collections.abc import Callable
from io import BytesIO
from typing import Annotated

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from msgspec import Meta, Struct

from {{ cookiecutter.package_name }}.core.api import TextBody, operation


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


@operation("Orders", {202: None}, TextBody("text/plain", "pen\n"))
def create_orders() -> tuple[None, int]:
    assert request.get_data() == b"pen\npencil\n"
    return None, 202


@operation("Orders", {200: TextBody("text/plain", "pen\n")})
def print_orders() -> str:
    return "pencil\n"


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False

    app.add_url_rule("/orders", view_func=create_order, methods=["POST"])
    app.add_url_rule("/orders", view_func=read_order)
    app.add_url_rule("/orders/many", view_func=create_orders, methods=["POST"])
    app.add_url_rule("/orders/text", view_func=print_orders)
    return app.test_client()


def test_valid_input_is_parsed(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"item": "pen", "amount": 3})
    assert (response.status_code, response.json) == (201, {"total": 3})
    assert shop.get("/orders?item=pen&amount=2").json == {"total": 2}


def test_invalid_input_returns_422_with_all_errors(shop: FlaskClient) -> None:
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
def test_invalid_body_is_rejected(
    shop: FlaskClient,
    body: bytes,
    content_type: str,
    status: int,
) -> None:
    response = shop.post("/orders", data=body, content_type=content_type)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"


def test_text_request_body(shop: FlaskClient) -> None:
    for content_type, status in [("text/plain; charset=utf-8", 202), ("application/json", 415)]:
        response = shop.post("/orders/many", data="pen\npencil\n", content_type=content_type)
        assert response.status_code == status
    documented = shop.get("/docs/openapi.json").get_json()["paths"]["/orders/many"]["post"]
    assert documented["requestBody"] == {
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "pen\n"}},
        "required": True,
    }


def test_text_response(shop: FlaskClient) -> None:
    response = shop.get("/orders/text")
    assert (response.content_type, response.text) == ("text/plain; charset=utf-8", "pencil\n")
    documented = shop.get("/docs/openapi.json").get_json()["paths"]["/orders/text"]["get"]
    assert documented["responses"]["200"]["content"] == {
        "text/plain": {"schema": {"type": "string"}, "example": "pen\n"}
    }


def test_invalid_output_returns_500_without_details(shop: FlaskClient) -> None:
    response = shop.post("/orders", json={"item": "broken"})
    assert response.status_code == 500
    assert "many" not in response.text


def test_swagger_ui_page(client: FlaskClient) -> None:
    assert client.get("/docs/openapi.json").get_json()["openapi"].startswith("3.1")
    page = client.get("/docs", buffered=True)
    assert page.content_type.startswith("text/html")
    # {% if cookiecutter.web_pages %}
    assert '<a class="link" href="/">' in page.text
    # {% endif %}
    for asset in ("docs.js", "swagger/swagger-ui-bundle.js", "swagger/swagger-ui.css"):
        assert f"/docs/{asset}" in page.text
        assert client.get(f"/docs/{asset}", buffered=True).status_code == 200
    # docs.js selects the theme by a class of the style sheet.
    for asset, theme in [
        ("docs.js", '.toggle("dark-mode"'),
        ("swagger/swagger-ui.css", "html.dark-mode .swagger-ui{"),
    ]:
        assert theme in client.get(f"/docs/{asset}", buffered=True).text


def test_chunked_body_above_the_limit_returns_413(make_app: Callable[..., Flask]) -> None:
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


def test_openapi_document_belongs_to_its_application(make_app: Callable[..., Flask]) -> None:
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


def test_api_routes_are_documented(app: Flask, client: FlaskClient) -> None:
    paths = client.get("/docs/openapi.json").get_json()["paths"]
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            path = re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                documented = paths.get(path, {})
                assert method.lower() in documented, f"{method} {rule.rule} lacks @operation"


def test_summaries_are_plain_text(client: FlaskClient) -> None:
    for path, operations in client.get("/docs/openapi.json").get_json()["paths"].items():
        for method, documented in operations.items():
            summary = documented["summary"]
            assert not re.search(r"[`*\[\]<>\n]", summary), f"{method} {path}: {summary}"
