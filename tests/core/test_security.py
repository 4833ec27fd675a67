from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, redirect, request, session, url_for
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.access import allow_anonymous
# {% endif %}
from {{ cookiecutter.package_name }}.core.security import log_open_operations


def test_every_response_has_the_headers(client: FlaskClient) -> None:
    for path in ("/health/live", "/nowhere"):
        headers = client.get(path).headers
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in headers


def test_view_may_override_a_header(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.add_url_rule("/framed", view_func=lambda: ("", {"X-Frame-Options": "SAMEORIGIN"}))
    response = app.test_client().get("/framed")
    assert response.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]


def test_https_response_has_hsts(client: FlaskClient) -> None:
    headers = client.get("/health/live", base_url="https://localhost").headers
    assert "max-age" in headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("example.com", 200),
        ("Example.com.:8080", 200),
        ("[::1]:8000", 200),
        ("shop.example.org", 200),
        ("evil.example", 400),
        ("[::1]evil.example", 400),
        ("example.com:80@evil.example", 400),
    ],
)
def test_unknown_host_returns_400(make_app: Callable[..., Flask], host: str, status: int) -> None:
    app = make_app(ALLOWED_HOSTS="EXAMPLE.com:443,[::1],.example.org.")
    app.add_url_rule("/here", view_func=lambda: "")
    client = app.test_client()
    assert client.get("/here", headers={"Host": host}).status_code == status
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


SHOP = "https://shop.example.com"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": SHOP}, 201),
        ({"Origin": "http://LOCALHOST:8080"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_cross_site_write_returns_403(
    make_app: Callable[..., Flask], headers: dict[str, str], status: int
) -> None:
    app = make_app(CORS_ORIGINS=f"{SHOP.upper()}:443".replace("HTTPS", "https"))
    app.add_url_rule("/here", view_func=lambda: ("", 201), methods=["GET", "POST"])
    client = app.test_client()
    assert client.post("/here", headers=headers).status_code == status
    assert client.get("/here", headers=headers).status_code == 201


def test_open_operations_are_logged(
    make_app: Callable[..., Flask], read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    app = make_app()

    def here() -> str:
        return ""

    # {% if cookiecutter.__auth %}
    allow_anonymous(here)
    # {% endif %}
    app.add_url_rule("/here", view_func=here, methods=["GET", "POST"])
    log_open_operations(app)
    assert read_logs() == []
    app.testing = False
    log_open_operations(app)
    (line,) = read_logs()
    assert line["level"] == "warning"
    assert "POST /here" in line["operations"]
    assert not any(operation.startswith("GET") for operation in line["operations"])
    # {% if cookiecutter.__web_vitals %}
    assert "POST /web-vitals" not in line["operations"]
    # {% endif %}


def test_url_prefix_is_part_of_each_url(make_app: Callable[..., Flask]) -> None:
    app = make_app(URL_PREFIX="/shop")

    @app.post("/enter")
    def enter() -> Any:
        session["user"] = 1
        return redirect(url_for("health.live"))

    # The proxy forwards the path with or without the prefix.
    for path in ("/shop/enter", "/enter"):
        response = app.test_client().post(path, base_url="https://localhost/")
        assert response.headers["Location"] == "/shop/health/live"
        assert "Path=/shop;" in f"{response.headers['Set-Cookie']};"
    client = app.test_client()
    assert client.get("/docs/openapi.json").get_json()["servers"] == [{"url": "/shop"}]
    assert client.get("/shopping", base_url="http://localhost/").status_code == 404


@pytest.mark.parametrize("hops", ["0", "1"])
def test_forwarded_prefix_is_ignored(make_app: Callable[..., Flask], hops: str) -> None:
    app = make_app(TRUSTED_PROXY_HOPS=hops)
    app.add_url_rule("/here", view_func=lambda: url_for("health.live"))
    response = app.test_client().get("/here", headers={"X-Forwarded-Prefix": "/evil"})
    assert response.text == "/health/live"


def test_session_cookie_is_secure(make_app: Callable[..., Flask]) -> None:
    app = make_app()

    @app.get("/enter")
    def enter() -> str:
        session["user"] = 1
        return ""

    cookie = app.test_client().get("/enter").headers["Set-Cookie"]
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax"):
        assert attribute in cookie


def test_session_lasts_until_it_is_cleared(make_app: Callable[..., Flask]) -> None:
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


def test_response_without_session_does_not_vary_by_cookie(client: FlaskClient) -> None:
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
def test_response_with_cookie_is_not_shared(
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
def test_forwarded_address_is_trusted_only_from_a_proxy(
    make_app: Callable[..., Flask],
    hops: str,
    address: str,
) -> None:
    app: Flask = make_app(TRUSTED_PROXY_HOPS=hops)
    app.add_url_rule("/address", view_func=lambda: str(request.remote_addr))
    app.add_url_rule("/host", "host", lambda: request.host)
    headers = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
    response = app.test_client().get("/address", headers=headers)
    assert response.text == address
    assert ("Strict-Transport-Security" in response.headers) == (hops == "1")
    headers = {"X-Forwarded-Host": "evil.example"}
    response = app.test_client().get("/host", headers=headers)
    assert response.status_code == 400 or response.text == "localhost"
