from flask import Flask
from flask.testing import FlaskClient


def test_an_empty_catalog_is_filled_once(app: Flask, client: FlaskClient) -> None:
    assert "Loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    products = client.get("/api/v1/products").get_json()["items"]
    assert products
    assert "nothing was loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    assert client.get("/api/v1/products").get_json()["items"] == products
