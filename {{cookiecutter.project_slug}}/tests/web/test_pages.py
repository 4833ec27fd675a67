from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_home_page_links_work(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    for path in ("/docs", "/docs/openapi.json", "/health/ready", "/static/style.css"):
        assert f'"{path}"' in page.text
        assert client.get(path, buffered=True).status_code == 200


def test_browser_gets_error_page(client: FlaskClient) -> None:
    page = client.get("/nowhere", headers=BROWSER)
    assert page.status_code == 404
    assert page.content_type.startswith("text/html")
    assert page.headers["X-Request-ID"] in page.text
    assert "Accept" in page.headers["Vary"]


def test_other_clients_get_problem_details(client: FlaskClient) -> None:
    preferred = "application/problem+json, text/html;q=0.5"
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": preferred}):
        response = client.get("/nowhere", headers=accept)
        assert response.content_type == "application/problem+json"


def test_error_page_does_not_disclose_exception(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/crash", view_func=lambda: str(1 / 0))
    page = app.test_client().get("/crash", headers=BROWSER)
    assert page.status_code == 500
    assert page.content_type.startswith("text/html")
    assert "ZeroDivisionError" not in page.text


def test_pages_have_no_inline_code(client: FlaskClient) -> None:
    for path in ("/", "/docs", "/nowhere"):
        text = client.get(path, headers=BROWSER, buffered=True).text
        assert not any(code in text for code in ("<style", "style=", "<script>", " onclick"))
