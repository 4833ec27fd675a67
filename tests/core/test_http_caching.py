from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask, Response, abort, make_response, session
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core.http_caching import public

TIMESTAMP = http_date(1_000_000_000)
LATER = http_date(1_000_000_001)
EARLIER = http_date(999_999_999)
PRIVATE = "private, no-cache"


def fetch(app: Flask, view: Callable[[], Any], method: str = "GET", **headers: str) -> TestResponse:
    """Serve a view and request it."""
    app.add_url_rule("/view", "view", view, methods=["GET", "POST"])
    client = app.test_client(use_cookies=False)
    return client.open("/view", method=method, headers=headers)


@public()
def show() -> Response:
    return Response("shown", headers={"Last-Modified": TIMESTAMP, "ETag": '"1"'})


@public(revalidate=True)
def show_revalidated() -> str:
    return "shown"


def test_responses_are_private_by_default(make_app: Callable[..., Flask]) -> None:
    assert fetch(make_app(), lambda: "private").headers["Cache-Control"] == PRIVATE


def test_public_response_is_cacheable(make_app: Callable[..., Flask]) -> None:
    app = make_app(HTTP_CACHE_TTL="7", HTTP_CACHE_STALE_TTL="9")
    headers = fetch(app, show).headers
    # A CDN gets more.
    directives = {"public", "max-age=7", "stale-while-revalidate=9"}
    assert directives <= {*headers["Cache-Control"].split(", ")}
    assert "Vary" not in headers
    assert "Set-Cookie" not in headers


def test_revalidated_response_is_validated_each_time(make_app: Callable[..., Flask]) -> None:
    headers = fetch(make_app(), show_revalidated).headers
    assert headers["Cache-Control"] == "public, no-cache"
    assert headers["ETag"]


@pytest.mark.parametrize("view", [show, show_revalidated])
@pytest.mark.parametrize(
    "credentials", [{"Cookie": "session=1"}, {"Authorization": "Bearer secret"}]
)
def test_response_to_credentials_is_private(
    make_app: Callable[..., Flask],
    view: Callable[[], Any],
    credentials: Mapping[str, str],
) -> None:
    assert fetch(make_app(), view, **credentials).headers["Cache-Control"] == PRIVATE
    not_modified = fetch(make_app(), view, **credentials, **{"If-None-Match": "*"})
    assert not_modified.status_code == 304
    assert not_modified.headers["Cache-Control"] == PRIVATE


@public()
def greet() -> str:
    return f"Hello, {session.get('name', 'stranger')}"


@public()
def enter() -> str:
    session["name"] = "Ada"
    return "Come in"


@public()
def set_cookie() -> Response:
    response = make_response("Have a cookie")
    response.set_cookie("name", "Ada")
    return response


@pytest.mark.parametrize(
    ("view", "varies", "sets"),
    [(greet, True, False), (enter, True, True), (set_cookie, False, True)],
)
def test_response_that_uses_cookies_is_private(
    make_app: Callable[..., Flask],
    view: Callable[[], Any],
    *,
    varies: bool,
    sets: bool,
) -> None:
    headers = fetch(make_app(), view).headers
    assert headers.getlist("Cache-Control") == [PRIVATE]
    assert ("Cookie" in headers.get("Vary", "")) is varies
    assert ("Set-Cookie" in headers) is sets


def test_unknown_session_interface_is_not_cached(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.session_interface = SecureCookieSessionInterface()
    assert fetch(app, greet).headers["Cache-Control"] == PRIVATE


@pytest.mark.parametrize("directives", ["private", "no-store", "public, max-age=1"])
def test_cache_control_of_the_view_takes_precedence(
    make_app: Callable[..., Flask], directives: str
) -> None:
    @public()
    def view() -> Response:
        return Response("private", headers={"Cache-Control": directives})

    assert fetch(make_app(), view).headers["Cache-Control"] == directives


@pytest.mark.parametrize(
    ("directives", "sent"),
    [("public, max-age=1", PRIVATE), ("private", PRIVATE), ("no-store", "no-store")],
)
def test_response_to_credentials_is_private_whatever_the_view_sets(
    make_app: Callable[..., Flask], directives: str, sent: str
) -> None:
    @public()
    def view() -> Response:
        return Response("private", headers={"Cache-Control": directives})

    assert fetch(make_app(), view, Cookie="session=1").headers["Cache-Control"] == sent


@public()
def fail() -> str:
    abort(HTTPStatus.NOT_FOUND)


@public()
def reject() -> tuple[str, int]:
    return "no", HTTPStatus.UNPROCESSABLE_ENTITY


@public()
def crash() -> str:
    raise RuntimeError


@pytest.mark.parametrize(("view", "status"), [(fail, 404), (reject, 422), (crash, 500)])
def test_errors_are_private(
    make_app: Callable[..., Flask], view: Callable[[], Any], status: int
) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = fetch(app, view)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == PRIVATE
    assert "ETag" not in response.headers


def test_automatic_responses_are_private(client: FlaskClient) -> None:
    for method, path in [("GET", "/nowhere"), ("DELETE", "/docs"), ("OPTIONS", "/docs")]:
        response = client.open(path, method=method)
        assert response.headers["Cache-Control"] == PRIVATE
    for path in ("/health/live", "/health/ready"):
        assert client.get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"If-None-Match": '"1"'}, 304),
        ({"If-None-Match": 'W/"1"'}, 304),
        ({"If-None-Match": '"0", "1"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"0"'}, 200),
        ({"If-Modified-Since": TIMESTAMP}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "soon"}, 200),
        # The stronger of the two decides (RFC 9110, section 13.2.2).
        ({"If-None-Match": '"0"', "If-Modified-Since": LATER}, 200),
        ({"If-None-Match": '"1"', "If-Modified-Since": EARLIER}, 304),
        # These are for writes and for ranges.
        ({"If-Match": '"0"'}, 200),
        ({"If-Unmodified-Since": EARLIER}, 200),
        ({"Range": "bytes=0-1"}, 200),
        ({"If-None-Match": '"0"', "If-Match": '"0"'}, 200),
        ({"If-None-Match": '"0"', "If-Unmodified-Since": EARLIER}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_request_returns_304(
    make_app: Callable[..., Flask],
    method: str,
    condition: Mapping[str, str],
    status: int,
) -> None:
    response = fetch(make_app(), show, method, **condition)
    assert response.status_code == status
    assert bool(response.data) is (status == 200 and method == "GET")
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Cache-Control"].startswith("public, max-age=")


def test_response_without_validator_is_sent(make_app: Callable[..., Flask]) -> None:
    conditions = {"If-None-Match": '"1"', "If-Modified-Since": TIMESTAMP}
    assert fetch(make_app(), lambda: "private", **conditions).data == b"private"


def test_post_is_never_304(make_app: Callable[..., Flask]) -> None:
    response = fetch(make_app(), show, "POST", **{"If-None-Match": '"1"'})
    assert (response.status_code, response.data) == (200, b"shown")


def test_etag_depends_on_the_body(make_app: Callable[..., Flask]) -> None:
    tags = [fetch(make_app(), public()(lambda text=text: text)).headers["ETag"] for text in "aab"]
    assert tags[0] == tags[1] != tags[2]


def test_streamed_response_has_no_etag(make_app: Callable[..., Flask]) -> None:
    response = fetch(make_app(), public()(lambda: iter(["a", "b"])))
    assert response.data == b"ab"
    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"].startswith("public")
