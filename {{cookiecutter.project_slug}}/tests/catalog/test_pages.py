from flask import Flask
from flask.testing import FlaskClient


def test_products_are_listed_a_page_at_a_time(app: Flask, client: FlaskClient) -> None:
    assert "nothing here yet" in client.get("/products").text

    app.test_cli_runner().invoke(args=["seed"])
    assert "Copper watering can" in client.get("/products").text
    assert "59.00" in client.get("/products").text
