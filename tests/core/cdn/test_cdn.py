from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask, Response, session, url_for
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.cdn import get_cdn
from {{ cookiecutter.package_name }}.core.http_caching import public

SHARED = ("Cache-Control", "CDN-Cache-Control", "Surrogate-Control")
TAGS = ("Cache-Tag", "Surrogate-Key")
OWN = "public, max-age=5"


class Model:
    __tablename__ = "table"


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of public and private views."""
    app = make_app(CDN_CACHE_TTL="77", CDN_CACHE_STALE_TTL="99", HTTP_CACHE_STALE_TTL="88")
    app.add_url_rule("/shared", "shared", public(tags=(Model, "other"))(lambda: "shared"))
    app.add_url_rule("/revalidated", "revalidated", public(revalidate=True)(lambda: ""))
    app.add_url_rule("/private", "private", lambda: "private")
    app.add_url_rule("/own", "own", public()(lambda: ("own", {"Cache-Control": OWN})))
    app.add_url_rule("/entered", "entered", public()(lambda: "entered"))

    @app.after_request
    def enter(response: Response) -> Response:
        if response.data == b"entered":
            session["user"] = 1
        return response

    return app.test_client()


def values(headers: Any, names: tuple[str, ...]) -> str:
    return " ".join(headers[name] for name in names if name in headers)


def test_public_response_has_cdn_headers(client: FlaskClient) -> None:
    response = client.get("/shared")
    control = values(response.headers, SHARED)
    assert "77" in control
    assert "stale-while-revalidate=88" in control
    assert "stale-if-error=99" in control
    assert response.headers["Cache-Control"].startswith("public, max-age=10")
    tags = values(response.headers, TAGS).replace(",", " ").split()
    assert tags == ["shared", "table", "other"]


def test_cache_control_of_the_view_takes_precedence(client: FlaskClient) -> None:
    assert values(client.get("/own").headers, SHARED) == OWN


def test_blueprint_is_a_tag(client: FlaskClient) -> None:
    app = client.application
    app.view_functions["docs.openapi_json"] = public()(lambda: "all")
    assert values(client.get("/docs/openapi.json").headers, TAGS) == "docs"


@pytest.mark.parametrize("path", ["/revalidated", "/private", "/entered", "/nowhere"])
def test_other_responses_have_no_cdn_headers(client: FlaskClient, path: str) -> None:
    control = values(client.get(path).headers, SHARED)
    assert "77" not in control


def test_response_to_credentials_is_private(client: FlaskClient) -> None:
    authorized = client.get("/shared", headers={"Authorization": "Bearer 1"})
    client.set_cookie("session", "1")
    for response in (authorized, client.get("/shared")):
        assert values(response.headers, SHARED) == "private, no-cache"


def test_response_with_a_cookie_is_private(client: FlaskClient) -> None:
    headers = client.get("/entered").headers
    assert "Set-Cookie" in headers
    assert values(headers, SHARED) == "private, no-cache"


def test_static_files_have_cdn_urls(make_app: Callable[..., Flask]) -> None:
    app = make_app(CDN_URL="https://cdn.example.net", CSP_SOURCES="https://fonts.example.org")
    page = app.test_client().get("/docs")
    assert 'src="https://cdn.example.net/docs/swagger/swagger-ui-bundle.js"' in page.text
    policy = page.headers["Content-Security-Policy"]
    sources = "'self' https://fonts.example.org https://cdn.example.net"
    assert f"default-src {sources};" in policy
    assert f"img-src {sources} data:;" in policy
    with app.test_request_context():
        assert url_for("docs.swagger_ui") == "/docs"
        address = url_for("static", filename="a.css", _external=True)
        assert address == "https://cdn.example.net/static/a.css"


def test_static_files_are_local_without_cdn_url(
    make_app: Callable[..., Flask],
) -> None:
    for variables in ({}, {"FLASK_DEBUG": "1", "CDN_URL": "https://cdn.example.net"}):
        page = make_app(**variables).test_client().get("/docs")
        assert 'src="/docs/swagger/swagger-ui-bundle.js"' in page.text
        assert "https:" not in page.headers["Content-Security-Policy"]


def test_purge_in_code(
    make_app: Callable[..., Flask],
    api_url: str,
    requests: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings = {"CDN_API_URL": api_url, "CDN_ID": "E1", "CDN_TOKEN": "t"}
    with make_app(**settings).app_context():
        get_cdn().purge("/shared", tags=[Model])
    assert requests
    assert "table" in str(requests)


def test_dry_run_sends_nothing(
    purge: Callable[..., Result], requests: list[dict[str, Any]]
) -> None:
    result = purge("/a", "https://other.example.org/b?c=d", "--tag", "table", "--dry-run")
    assert result.exit_code == 0
    assert "would purge" in result.output
    for word in ("/a", "/b?c=d", "table"):
        assert word in result.output
    assert not requests


def test_purged_paths_have_the_url_prefix(purge: Callable[..., Result]) -> None:
    result = purge("/a", "/shop/b", "/shopping", "--dry-run", URL_PREFIX="/shop")
    for path in ("/shop/a", "/shop/b", "/shop/shopping"):
        assert path in result.output
    assert "/shop/shop/" not in result.output


def test_dry_run_needs_no_credentials(purge: Callable[..., Result]) -> None:
    result = purge("--everything", "--dry-run", CDN_ID="", CDN_API_URL="", CDN_TOKEN="")
    assert result.exit_code == 0, result.output
    assert "would purge" in result.output


@pytest.mark.parametrize(
    ("words", "variables", "problem"),
    [
        ([], {}, "Give paths, --tag or --everything."),
        (["/a"], {"ALLOWED_HOSTS": ".example.com"}, "neither a path of a known site nor"),
        (["/a"], {"CDN_ID": "", "CDN_API_URL": "", "CDN_TOKEN": ""}, "must be set"),
    ],
)
def test_invalid_arguments_are_rejected(
    purge: Callable[..., Result],
    words: list[str],
    variables: dict[str, str],
    problem: str,
) -> None:
    result = purge(*words, **variables)
    assert result.exit_code > 0
    assert problem in result.output
