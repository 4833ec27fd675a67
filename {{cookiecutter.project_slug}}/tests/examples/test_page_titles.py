from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core import http_client
from {{ cookiecutter.package_name }}.examples.page_titles import (
    fetch_title,
    find_title,
)

TITLES = "/api/v1/titles"


def request_title(app: Flask, url: str) -> Any:
    """Request a title and return the status of the job, which has finished."""
    client = app.test_client()
    accepted = client.post(TITLES, json={"url": url, "reason": "curious"})
    assert accepted.status_code == 202
    return client.get(accepted.headers["Location"]).get_json()


def test_title_is_the_result_of_the_job(http_client_app: Flask, http_server: Any) -> None:
    http_server.respond(b"<html><title>A &amp;\n B</title>", Content_Type="text/html")
    job = request_title(http_client_app, f"{http_server.url}/page")
    assert job["state"] == "succeeded"
    assert job["result"] == {"url": f"{http_server.url}/page", "status": 200, "title": "A & B"}


def test_request_id_is_sent(http_client_app: Flask, http_server: Any) -> None:
    http_server.respond(b"<title>Kite</title>")
    accepted = http_client_app.test_client().post(TITLES, json={"url": http_server.url})
    assert http_server.requests[0].headers["X-Request-ID"] == accepted.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("page", "charset", "title"),
    [
        (b"", "", None),
        (b"<p>none", "", None),
        (b"<title></title>", "", None),
        (b"<title>first</title><svg><title>second</title></svg>", "", "first"),
        (b"<TITLE lang=en> many\n\t spaces </TITLE>", "", "many spaces"),
        (b"<title>" + b"x" * 1000 + b"</title>", "", "x" * 300),
        (b"<title>\xc3\xa9</title>", "", "é"),
        (b"<title>\xe9</title>", "iso-8859-1", "é"),
        (b"<title>\xe9</title>", "no-charset", "\ufffd"),
        (b"<title>414243</title>", "hex", "414243"),
        (b"<title>first</title><![x>", "", "first"),
    ],
)
def test_title_is_found(page: bytes, charset: str, title: str | None) -> None:
    assert find_title(page, charset) == title


@pytest.mark.parametrize("url", ["", "ftp://example.com", "http://user:pass@example.com"])
def test_invalid_url_returns_422(http_client_app: Flask, url: str) -> None:
    response = http_client_app.test_client().post(TITLES, json={"url": url})
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == "url"


def test_internal_address_fails_the_job(http_client_app: Flask) -> None:
    job = request_title(http_client_app, "http://169.254.169.254/latest/meta-data")
    assert job["state"] == "failed"
    assert job["error"] == "The page was not requested: its host has no public address."


def test_errors_of_the_page_are_logged_as_warnings(
    http_client_app: Flask,
    http_server: Any,
    read_logs: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_client, "BACKOFF", ())
    http_server.respond(b"<![x>", Content_Type="text/html")
    assert request_title(http_client_app, http_server.url)["error"] == "The page is not HTML."
    http_server.responses.clear()
    http_server.respond(status=500)
    assert (
        request_title(http_client_app, http_server.url)["error"] == "The server responded with 500."
    )
    with http_client_app.app_context(), pytest.raises(ConnectionError, match="500"):
        fetch_title(http_server.url)
    monkeypatch.setattr(http_client, "fetch", Mock(side_effect=http_client.UnreachableError))
    assert request_title(http_client_app, http_server.url)["error"] == "The server did not respond."
    failures = [line for line in read_logs() if line["event"] == "job failed"]
    assert [line["level"] for line in failures] == ["warning"] * 3
