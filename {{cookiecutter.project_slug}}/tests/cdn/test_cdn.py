from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask, Response, session, url_for
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.cdn import get_cdn, tag_view
from {{ cookiecutter.package_name }}.http_caching import public

SHARED = ("Cache-Control", "CDN-Cache-Control", "Surrogate-Control")
TAGS = ("Cache-Tag", "Surrogate-Key")
OWN = "public, max-age=5"


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of views for everybody and for one."""
    app = make_app(CDN_CACHE_LIFETIME="77", CDN_CACHE_STALE="99", HTTP_CACHE_STALE="88")
    app.add_url_rule("/shared", "shared", public()(lambda: "shared"))
    app.add_url_rule("/checked", "checked", public(is_checked=True)(lambda: "checked"))
    app.add_url_rule("/private", "private", lambda: "private")
    app.add_url_rule("/own", "own", public()(lambda: ("own", {"Cache-Control": OWN})))
    app.add_url_rule("/entered", "entered", public()(lambda: "entered"))

    @app.after_request
    def enter(response: Response) -> Response:
        if response.data == b"entered":
            session["user"] = 1
        return response

    tag_view(app, "shared", "table", "other")
    return app.test_client()


def told(headers: Any, names: tuple[str, ...]) -> str:
    return " ".join(headers[name] for name in names if name in headers)


def test_the_cdn_may_keep_what_is_public(client: FlaskClient) -> None:
    answer = client.get("/shared")
    control = told(answer.headers, SHARED)
    assert "77" in control
    assert "stale-while-revalidate=88" in control
    assert "stale-if-error=99" in control
    assert answer.headers["Cache-Control"].startswith("public, max-age=10")
    tags = told(answer.headers, TAGS).replace(",", " ").split()
    assert tags == ["shared", "table", "other"]


def test_what_a_view_says_itself_goes_before(client: FlaskClient) -> None:
    assert told(client.get("/own").headers, SHARED) == OWN


def test_a_blueprint_is_a_tag(client: FlaskClient) -> None:
    app = client.application
    app.view_functions["docs.document"] = public()(lambda: "all")
    assert told(client.get("/docs/openapi.json").headers, TAGS) == "docs"


@pytest.mark.parametrize("path", ["/checked", "/private", "/entered", "/nowhere"])
def test_the_cdn_may_keep_nothing_else(client: FlaskClient, path: str) -> None:
    control = told(client.get(path).headers, SHARED)
    assert "77" not in control


def test_what_answers_one_client_is_its_own(client: FlaskClient) -> None:
    authorized = client.get("/shared", headers={"Authorization": "Bearer 1"})
    client.set_cookie("session", "1")
    for answer in (authorized, client.get("/shared")):
        assert told(answer.headers, SHARED) == "private, no-cache"


def test_a_cookie_forbids_to_keep(client: FlaskClient) -> None:
    headers = client.get("/entered").headers
    assert "Set-Cookie" in headers
    assert told(headers, SHARED) == "private, no-cache"


def test_static_files_come_from_its_address(make_app: Callable[..., Flask]) -> None:
    app = make_app(CDN_URL="https://cdn.example.net", CONTENT_SOURCES="https://fonts.example.org")
    page = app.test_client().get("/docs")
    assert 'src="https://cdn.example.net/docs/swagger/swagger-ui-bundle.js"' in page.text
    policy = page.headers["Content-Security-Policy"]
    sources = "'self' https://fonts.example.org https://cdn.example.net"
    assert f"default-src {sources};" in policy
    assert f"img-src {sources} data:;" in policy
    with app.test_request_context():
        assert url_for("docs.page") == "/docs"
        address = url_for("static", filename="a.css", _external=True)
        assert address == "https://cdn.example.net/static/a.css"


def test_without_an_address_or_in_debug_mode_they_come_from_here(
    make_app: Callable[..., Flask],
) -> None:
    for variables in ({}, {"FLASK_DEBUG": "1", "CDN_URL": "https://cdn.example.net"}):
        page = make_app(**variables).test_client().get("/docs")
        assert 'src="/docs/swagger/swagger-ui-bundle.js"' in page.text
        assert "https:" not in page.headers["Content-Security-Policy"]


def test_code_can_purge(
    make_app: Callable[..., Flask],
    interface: str,
    asked: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings = {"CDN_API_URL": interface, "CDN_ID": "E1", "CDN_TOKEN": "t"}
    with make_app(**settings).app_context():
        get_cdn().purge("/shared", tags=["table"])
    assert asked
    assert "table" in str(asked)


def test_a_dry_run_only_says(purge: Callable[..., Result], asked: list[dict[str, Any]]) -> None:
    result = purge("/a", "https://other.example.org/b?c=d", "--tag", "table", "--dry-run")
    assert result.exit_code == 0
    assert "would purge" in result.output
    for word in ("/a", "/b?c=d", "table"):
        assert word in result.output
    assert not asked


@pytest.mark.parametrize(
    ("words", "variables", "problem"),
    [
        ([], {}, "Name paths, tags, or --everything."),
        (["/a"], {"ALLOWED_HOSTS": ".example.com"}, "neither a path of a known site nor"),
        (["/a"], {"CDN_ID": "", "CDN_API_URL": "", "CDN_TOKEN": ""}, "must be set"),
    ],
)
def test_what_cannot_be_done_is_told(
    purge: Callable[..., Result],
    words: list[str],
    variables: dict[str, str],
    problem: str,
) -> None:
    result = purge(*words, **variables)
    assert result.exit_code > 0
    assert problem in result.output
