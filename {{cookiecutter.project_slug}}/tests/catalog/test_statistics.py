from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.catalog.statistics import load_statistics

Record = dict[str, Any]

STATISTICS = "/api/v1/statistics"


def test_each_category_is_summed_up(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    for name in ("apple", "beech"):
        add_product(name)
    client.post("/api/v1/categories", json={"name": "Art"})
    prices = ("lowest_price_cents", "highest_price_cents")
    assert client.get(STATISTICS).get_json() == [
        {"category": "Art", "products": 0, "sold_out": 0, **dict.fromkeys(prices)},
        {"category": "Books", "products": 2, "sold_out": 2, **dict.fromkeys(prices, 1250)},
    ]


def test_everybody_may_keep_them(client: FlaskClient) -> None:
    assert client.get(STATISTICS).headers["Cache-Control"].startswith("public, max-age=")


def test_they_are_asked_for_once_until_something_changes(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    logged: Callable[[], list[Record]],
) -> None:
    add_product("apple")
    logged()
    for _ in range(3):
        client.get(STATISTICS)
    assert [record.get("queries", 0) for record in logged()] == [1, 0, 0]
    add_product("beech")
    assert client.get(STATISTICS).get_json()[0]["products"] == 2


def test_what_is_kept_is_what_was_found(app: Flask, add_product: Callable[[str], Record]) -> None:
    add_product("apple")
    with app.app_context():
        assert load_statistics() == load_statistics()


def test_they_are_documented(client: FlaskClient) -> None:
    assert STATISTICS in client.get("/docs/openapi.json").get_json()["paths"]
