import re

from flask import Flask
from flask.testing import FlaskClient


def test_products_are_listed_a_page_at_a_time(app: Flask, client: FlaskClient) -> None:
    assert "nothing here yet" in client.get("/products").text

    app.test_cli_runner().invoke(args=["seed", "--more", "20"])
    first = client.get("/products").text
    assert "Copper watering can" in first
    assert "59.00" in first

    link = re.search(r'rel="next" href="([^"]+)"', first)
    assert link
    last = client.get(link[1]).text
    assert "Copper watering can" not in last
    assert "Tides and Currents" in last
    assert 'rel="next"' not in last
