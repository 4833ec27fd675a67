from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask, Response, abort, make_response, session
from flask.testing import FlaskClient
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.http_caching import public

MOMENT = http_date(1_000_000_000)
LATER = http_date(1_000_000_001)
EARLIER = http_date(999_999_999)
PRIVATE = "private, no-cache"


def ask(app: Flask, view: Callable[[], Any], method: str = "GET", **headers: str) -> TestResponse:
    """Serve a view, and ask for it."""
    app.add_url_rule("/view", "view", view, methods=["GET", "POST"])
    client = app.test_client(use_cookies=False)
    return client.open("/view", method=method, headers=headers)


@public()
def show() -> Response:
    return Response("shown", headers={"Last-Modified": MOMENT, "ETag": '"1"'})


@public(is_checked=True)
def show_checked() -> str:
    return "shown"


def test_what_no_view_calls_public_is_private(make_app: Callable[..., Flask]) -> None:
    assert ask(make_app(), lambda: "mine").headers["Cache-Control"] == PRIVATE


def test_what_is_public_may_be_kept_for_a_while(make_app: Callable[..., Flask]) -> None:
    app = make_app(HTTP_CACHE_LIFETIME="7", HTTP_CACHE_STALE="9")
    headers = ask(app, show).headers
    # A CDN may be told more.
    told = {"public", "max-age=7", "stale-while-revalidate=9"}
    assert told <= {*headers["Cache-Control"].split(", ")}
    assert "Vary" not in headers
    assert "Set-Cookie" not in headers


def test_what_is_checked_is_kept_and_asked_for(make_app: Callable[..., Flask]) -> None:
    headers = ask(make_app(), show_checked).headers
    assert headers["Cache-Control"] == "public, no-cache"
    assert headers["ETag"]


@pytest.mark.parametrize("view", [show, show_checked])
@pytest.mark.parametrize("personal", [{"Cookie": "session=1"}, {"Authorization": "Bearer secret"}])
def test_nobody_keeps_an_answer_to_somebody_who_is_known(
    make_app: Callable[..., Flask],
    view: Callable[[], Any],
    personal: Mapping[str, str],
) -> None:
    assert ask(make_app(), view, **personal).headers["Cache-Control"] == PRIVATE
    not_modified = ask(make_app(), view, **personal, **{"If-None-Match": "*"})
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
def offer_a_cookie() -> Response:
    response = make_response("Have a cookie")
    response.set_cookie("name", "Ada")
    return response


@pytest.mark.parametrize(
    ("view", "varies", "sets"),
    [(greet, True, False), (enter, True, True), (offer_a_cookie, False, True)],
)
def test_nobody_keeps_what_depends_on_a_cookie_or_sets_one(
    make_app: Callable[..., Flask],
    view: Callable[[], Any],
    *,
    varies: bool,
    sets: bool,
) -> None:
    headers = ask(make_app(), view).headers
    assert headers.getlist("Cache-Control") == [PRIVATE]
    assert ("Cookie" in headers.get("Vary", "")) is varies
    assert ("Set-Cookie" in headers) is sets


@pytest.mark.parametrize("directives", ["private", "no-store", "public, max-age=1"])
def test_what_a_view_says_itself_goes_before(
    make_app: Callable[..., Flask], directives: str
) -> None:
    @public()
    def view() -> Response:
        return Response("mine", headers={"Cache-Control": directives})

    assert ask(make_app(), view).headers["Cache-Control"] == directives


@pytest.mark.parametrize(
    ("directives", "sent"),
    [("public, max-age=1", PRIVATE), ("private", PRIVATE), ("no-store", "no-store")],
)
def test_whatever_a_view_says_nobody_keeps_what_is_personal(
    make_app: Callable[..., Flask], directives: str, sent: str
) -> None:
    @public()
    def view() -> Response:
        return Response("mine", headers={"Cache-Control": directives})

    assert ask(make_app(), view, Cookie="session=1").headers["Cache-Control"] == sent


@public()
def fail() -> str:
    abort(HTTPStatus.NOT_FOUND)


@public()
def refuse() -> tuple[str, int]:
    return "no", HTTPStatus.UNPROCESSABLE_ENTITY


@public()
def crash() -> str:
    raise RuntimeError


@pytest.mark.parametrize(("view", "status"), [(fail, 404), (refuse, 422), (crash, 500)])
def test_an_error_is_never_public(
    make_app: Callable[..., Flask], view: Callable[[], Any], status: int
) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = ask(app, view)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == PRIVATE
    assert "ETag" not in response.headers


def test_what_the_application_answers_by_itself_is_not_public(client: FlaskClient) -> None:
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
        ({"If-Modified-Since": MOMENT}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "soon"}, 200),
        # The stronger of the two decides (RFC 9110, section 13.2.2).
        ({"If-None-Match": '"0"', "If-Modified-Since": LATER}, 200),
        ({"If-None-Match": '"1"', "If-Modified-Since": EARLIER}, 304),
        # These are for who writes, or continues a download.
        ({"If-Match": '"0"'}, 200),
        ({"If-Unmodified-Since": EARLIER}, 200),
        ({"Range": "bytes=0-1"}, 200),
        ({"If-None-Match": '"0"', "If-Match": '"0"'}, 200),
        ({"If-None-Match": '"0"', "If-Unmodified-Since": EARLIER}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_it_gets_no_body_again(
    make_app: Callable[..., Flask],
    method: str,
    condition: Mapping[str, str],
    status: int,
) -> None:
    response = ask(make_app(), show, method, **condition)
    assert response.status_code == status
    assert bool(response.data) is (status == 200 and method == "GET")
    assert response.headers["ETag"] == '"1"'
    assert response.headers["Cache-Control"].startswith("public, max-age=")


def test_what_has_no_validator_is_sent_each_time(make_app: Callable[..., Flask]) -> None:
    conditions = {"If-None-Match": '"1"', "If-Modified-Since": MOMENT}
    assert ask(make_app(), lambda: "mine", **conditions).data == b"mine"


def test_only_reading_is_spared_its_body(make_app: Callable[..., Flask]) -> None:
    response = ask(make_app(), show, "POST", **{"If-None-Match": '"1"'})
    assert (response.status_code, response.data) == (200, b"shown")


def test_an_etag_is_what_is_in_the_answer(make_app: Callable[..., Flask]) -> None:
    tags = [ask(make_app(), public()(lambda text=text: text)).headers["ETag"] for text in "aab"]
    assert tags[0] == tags[1] != tags[2]


def test_what_is_streamed_is_not_gathered_for_an_etag(make_app: Callable[..., Flask]) -> None:
    response = ask(make_app(), public()(lambda: iter(["a", "b"])))
    assert response.data == b"ab"
    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"].startswith("public")
