from collections.abc import Callable

from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }}.core.database import get_session
from {{ cookiecutter.package_name }}.core.debug_panel.record import (
    PACKAGE,
    find_origin,
)


def test_page_shows_queries_without_parameters(make_app: Callable[..., Flask]) -> None:
    app = make_app(FLASK_DEBUG="1")

    @app.get("/query")
    def query() -> str:
        return str(get_session().scalar(text("SELECT :value"), {"value": "secret"}))

    vars(query)["access_rule"] = None
    client = app.test_client()
    response = client.get("/query")
    assert response.text == "secret"
    page = client.get(response.headers["X-Debug-URL"]).text
    assert "SELECT " in page
    assert "secret" not in page
    assert "queries 1" in client.get("/debug/requests").text


def define(path: str) -> Callable[..., str]:
    """Define a function, in a file of the package, that calls another function."""
    names: dict[str, Callable[..., str]] = {}
    code = compile("def call(function, *rest):\n    return function(*rest)", PACKAGE / path, "exec")
    exec(code, names)
    return names["call"]


def test_origin_is_project_code_outside_of_the_database() -> None:
    own, internal = define("notes/queries.py"), define("core/database/session.py")
    assert own(internal, find_origin) == "notes/queries.py:2"
    assert internal(find_origin) == "core/database/session.py:2"
