from collections.abc import Callable

import pytest
from flask import Flask, Response, request, session
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


def test_each_response_has_the_headers(client: FlaskClient) -> None:
    for path in ("/health/live", "/nowhere"):
        headers = client.get(path).headers
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in headers


def test_a_view_may_set_a_header_itself(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.add_url_rule("/framed", view_func=lambda: ("", {"X-Frame-Options": "SAMEORIGIN"}))
    response = app.test_client().get("/framed")
    assert response.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]


def test_tls_is_demanded_once_it_was_used(client: FlaskClient) -> None:
    headers = client.get("/health/live", base_url="https://localhost").headers
    assert "max-age" in headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("example.com", 200), ("Example.com:8080", 200), ("evil.example", 400)],
)
def test_unknown_hosts_are_refused(make_app: Callable[..., Flask], host: str, status: int) -> None:
    app = make_app(ALLOWED_HOSTS="example.com")
    app.add_url_rule("/here", view_func=lambda: "")
    client = app.test_client()
    assert client.get("/here", headers={"Host": host}).status_code == status
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


def test_cookies_are_safe(make_app: Callable[..., Flask]) -> None:
    app = make_app()

    @app.get("/enter")
    def enter() -> str:
        session["user"] = 1
        return ""

    cookie = app.test_client().get("/enter").headers["Set-Cookie"]
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax"):
        assert attribute in cookie


def test_a_session_lives_until_it_is_cleared(make_app: Callable[..., Flask]) -> None:
    app = make_app()

    @app.get("/enter")
    def enter() -> str:
        session["user"] = 1
        return ""

    @app.get("/look")
    def look() -> str:
        return str(session.get("user"))

    @app.get("/leave")
    def leave() -> str:
        session.clear()
        return ""

    client = app.test_client()

    def get(path: str) -> TestResponse:
        return client.get(path, base_url="https://localhost")

    assert [get(path).text for path in ("/look", "/enter", "/look")] == ["None", "", "1"]
    assert get("/leave").headers["Vary"] == "Cookie"
    assert get("/look").text == "None"


def test_a_request_without_a_session_does_not_vary_by_it(client: FlaskClient) -> None:
    headers = client.get("/health/live", headers={"Cookie": "other=1"}).headers
    assert "Cookie" not in headers.get("Vary", "")
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("directives", "sent"),
    [
        ("public, max-age=60", "private, no-cache"),
        ("max-age=60", "private, no-cache"),
        ("s-maxage=60", "private, no-cache"),
        ("private, max-age=60", "private, max-age=60"),
        ("no-store", "no-store"),
    ],
)
def test_what_sets_a_cookie_is_for_one_client(
    make_app: Callable[..., Flask],
    directives: str,
    sent: str,
) -> None:
    app = make_app()

    @app.get("/enter")
    def enter() -> Response:
        response = Response(headers={"Cache-Control": directives})
        response.set_cookie("name", "Ada")
        return response

    headers = app.test_client().get("/enter").headers
    assert headers.getlist("Cache-Control") == [sent]
    assert "Set-Cookie" in headers


@pytest.mark.parametrize(("hops", "address"), [("0", "127.0.0.1"), ("1", "192.0.2.9")])
def test_forwarded_addresses_are_believed_from_known_proxies_only(
    make_app: Callable[..., Flask],
    hops: str,
    address: str,
) -> None:
    app: Flask = make_app(TRUSTED_PROXY_HOPS=hops)
    app.add_url_rule("/address", view_func=lambda: str(request.remote_addr))
    app.add_url_rule("/host", "host", lambda: request.host)
    headers = {"X-Forwarded-For": "203.0.113.7, 192.0.2.9", "X-Forwarded-Proto": "https"}
    response = app.test_client().get("/address", headers=headers)
    assert response.text == address
    assert ("Strict-Transport-Security" in response.headers) == (hops == "1")
    headers = {"X-Forwarded-Host": "evil.example"}
    response = app.test_client().get("/host", headers=headers)
    assert response.status_code == 400 or response.text == "localhost"
