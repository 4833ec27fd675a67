from collections.abc import Callable
# {% if cookiecutter.__sql %}
from pathlib import Path
# {% endif %}

from flask import Flask
from flask.testing import FlaskClient


def test_seed_loads_data_once(app: Flask, client: FlaskClient) -> None:
    assert "Loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    products = client.get("/api/v1/products").get_json()["items"]
    assert products
    assert "nothing was loaded" in app.test_cli_runner().invoke(args=["seed"]).output
    assert client.get("/api/v1/products").get_json()["items"] == products


# {% if cookiecutter.__sql %}
def test_missing_table_is_a_one_line_error(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3")
    result = app.test_cli_runner().invoke(args=["seed"])
    assert result.exit_code == 1
    assert result.output == "Error: the database: no such table: category\n"
# {% elif cookiecutter.database == "cassandra" %}
def test_unreachable_server_is_a_one_line_error(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="cassandra://127.0.0.1:1/test", DATABASE_CONNECT_TIMEOUT="1")
    result = app.test_cli_runner().invoke(args=["seed"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: the database: ")
    assert result.output.count("\n") == 1
# {% elif cookiecutter.database == "mongodb" %}
def test_unreachable_server_is_a_one_line_error(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="mongodb://127.0.0.1:1/test", DATABASE_CONNECT_TIMEOUT="1")
    result = app.test_cli_runner().invoke(args=["seed"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: the database: 127.0.0.1:1: ")
    assert result.output.count("\n") == 1
# {% endif %}
