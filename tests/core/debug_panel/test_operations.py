from collections.abc import Callable

from flask import Flask

from {{ cookiecutter.package_name }}.core.operations import Operation


def test_page_shows_operations(make_app: Callable[..., Flask]) -> None:
    app = make_app(FLASK_DEBUG="1")

    @app.get("/query")
    def query() -> str:
        operation = Operation("find", "note", lambda: "find note filter={id: ?}", 0.001)
        app.extensions["operations"].finished(operation)
        return ""

    vars(query)["access_rule"] = None
    client = app.test_client()
    response = client.get("/query")
    assert "find note filter={id: ?}" in client.get(response.headers["X-Debug-URL"]).text
    assert "queries 1" in client.get("/debug/requests").text
