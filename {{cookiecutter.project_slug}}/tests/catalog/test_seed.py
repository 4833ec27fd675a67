from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient


def test_seed_loads_data_once(app: Flask, client: FlaskClient) -> None:
    assert "Loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    products = client.get("/api/v1/products").get_json()["items"]
    assert products
    assert "nothing was loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    assert client.get("/api/v1/products").get_json()["items"] == products


@pytest.mark.parametrize(
    ("url", "error"),
    [
        # {% if cookiecutter.__sql %}
        ("sqlite:///{}/empty.sqlite3", "no such table: category"),
        # {% endif %}
        # {% if cookiecutter.database == "mongodb" %}
        ("mongodb://127.0.0.1:1/test", "127.0.0.1:1: "),
        # {% endif %}
        # {% if cookiecutter.database == "cassandra" %}
        ("cassandra://127.0.0.1:1/test", ""),
        # {% endif %}
    ],
)
def test_database_error_is_one_line(
    make_app: Callable[..., Flask], tmp_path: Path, url: str, error: str
) -> None:
    result = make_app(DATABASE_URL=url.format(tmp_path)).test_cli_runner().invoke(args=["seed"])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: the database: {error}")
    assert result.output.count("\n") == 1
