import re

from flask import Flask
from flask.testing import FlaskClient


def test_products_are_listed_in_pages(app: Flask, client: FlaskClient) -> None:
    assert "no products yet" in client.get("/products").text

    app.test_cli_runner().invoke(args=["seed", "--extra", "20"])
    first = client.get("/products").text
    assert "Copper watering can" in first
    assert "€59.00" in first

    link = re.search(r'rel="next" href="([^"]+)"', first)
    assert link
    last = client.get(link[1].replace("&amp;", "&")).text
    assert "Copper watering can" not in last
    assert "Tides and Currents" in last
    assert 'rel="next"' not in last


def test_products_can_be_filtered(app: Flask, client: FlaskClient) -> None:
    app.test_cli_runner().invoke(args=["seed", "--extra", "300"])
    books = re.search(r'value="(\d+)">Books', client.get("/products").text)
    assert books
    query = {"category_id": books[1], "sold_out": "1"}
    page = client.get("/products", query_string=query).text
    assert "Tides and Currents" in page
    assert "Egg timer" not in page
    assert "A Field Guide to Ferns" not in page
    assert f'value="{books[1]}" selected' in page
    assert client.get("/products?category_id=").text == client.get("/products").text
    assert client.get(f"/products?category_id={10**30}").status_code == 200


def test_invalid_cursor_returns_422(client: FlaskClient) -> None:
    assert client.get("/products?after=x").status_code == 422
