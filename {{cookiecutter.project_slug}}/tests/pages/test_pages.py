from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_the_home_page_links_to_what_answers(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    for address in ("/docs", "/health/ready", "/static/style.css"):
        assert address in page.text
        assert client.get(address, buffered=True).status_code == 200


def test_people_get_errors_as_pages(client: FlaskClient) -> None:
    page = client.get("/nowhere", headers=BROWSER)
    assert page.status_code == 404
    assert page.content_type.startswith("text/html")
    assert page.headers["X-Request-ID"] in page.text
    assert "Accept" in page.headers["Vary"]


def test_the_order_of_preference_counts(client: FlaskClient) -> None:
    accept = {"Accept": "application/problem+json, text/html;q=0.5"}
    assert client.get("/nowhere", headers=accept).content_type == "application/problem+json"


def test_programs_get_errors_as_problems(client: FlaskClient) -> None:
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert client.get("/nowhere", headers=accept).content_type == "application/problem+json"


def test_an_unexpected_error_is_a_page_that_tells_nothing(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/crash", view_func=lambda: str(1 / 0))
    page = app.test_client().get("/crash", headers=BROWSER)
    assert page.status_code == 500
    assert page.content_type.startswith("text/html")
    assert "ZeroDivisionError" not in page.text


def test_pages_need_nothing_that_the_policy_forbids(client: FlaskClient) -> None:
    for path in ("/", "/docs", "/nowhere"):
        text = client.get(path, headers=BROWSER, buffered=True).text
        assert "<style" not in text
        assert "style=" not in text
        assert "<script>" not in text
        assert " onclick" not in text
