from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask, Response, abort, make_response, request, session
from flask.testing import FlaskClient
from msgspec import msgpack

from {{ cookiecutter.package_name }}.cache import get_cache, keep_view
from {{ cookiecutter.package_name }}.http_caching import public


class Shop:
    """Views that count how often they run, all of them public and kept."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.runs = 0
        self.add("/count", str)

    def add(self, path: str, make: Callable[[int], Any], *, is_checked: bool = False) -> None:
        @public(is_checked=is_checked)
        def view() -> Response:
            self.runs += 1
            return make_response(make(self.runs))

        self.app.add_url_rule(path, path, view, methods=["GET", "POST"])
        keep_view(self.app, path, "pens")

    def get(self, path: str = "/count", **headers: str) -> str:
        """Ask as somebody whom nobody knows."""
        return self.app.test_client(use_cookies=False).get(path, headers=headers).text


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> Shop:
    return Shop(make_app(CACHE_VIEW_LIFETIME="1000", ALLOWED_HOSTS="a.test,b.test,localhost"))


@pytest.fixture
def client(shop: Shop) -> FlaskClient:
    return shop.app.test_client()


def test_an_answer_is_kept_as_it_is(client: FlaskClient) -> None:
    made, kept = client.get("/count"), client.get("/count")
    assert (kept.status_code, kept.text) == (200, "1")
    hidden = {"X-Request-ID": "", "Date": ""}
    assert {**kept.headers, **hidden} == {**made.headers, **hidden}
    assert kept.headers["Cache-Control"].startswith("public, max-age=")


def test_its_lifetime_is_a_setting(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    lifetimes = []
    store = shop.app.extensions["cache"]
    monkeypatch.setattr(store.backend, "set", lambda *given: lifetimes.append(given[2]))
    shop.get()
    assert 900 <= lifetimes[0] - store.stale <= 1000


def test_it_is_forgotten_with_its_tag(shop: Shop) -> None:
    assert [shop.get(), shop.get()] == ["1", "1"]
    with shop.app.app_context():
        get_cache().forget("pens")
    assert [shop.get(), shop.get()] == ["2", "2"]


def test_a_kept_answer_is_not_sent_to_who_has_it(client: FlaskClient) -> None:
    etag = client.get("/count").headers["ETag"]
    for method in ("GET", "HEAD"):
        again = client.open("/count", method=method, headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == etag
    assert client.get("/count", headers={"If-None-Match": '"old"'}).text == "1"


def test_head_and_get_share_an_answer(client: FlaskClient) -> None:
    head = client.head("/count")
    assert head.data == b""
    assert client.get("/count").text == "1"
    assert client.head("/count").headers["Content-Length"] == "1"


def test_writing_is_never_answered_from_the_cache(client: FlaskClient) -> None:
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    assert client.get("/count").text == "3"
    assert client.post("/count").text == "4"


def test_the_order_of_parameters_does_not_matter(shop: Shop) -> None:
    assert shop.get("/count?a=1&b=2") == shop.get("/count?b=2&a=1") == "1"
    assert shop.get("/count?a=2&b=1") == "2"


def test_of_parameters_that_set_the_same_the_order_matters(shop: Shop) -> None:
    shop.add("/first", lambda _: request.args["a"])
    for query in ("a=1&a=2", "a=2&a=1", "%61=3&a=4", "a=4&%61=3"):
        assert shop.get(f"/first?{query}") == query.partition("=")[2][0]


def test_a_path_with_a_question_mark_is_no_query(shop: Shop) -> None:
    shop.add("/count?a", str)
    assert [shop.get("/count?a?"), shop.get("/count%3Fa")] == ["1", "2"]


def test_each_address_has_its_own_answer(client: FlaskClient) -> None:
    for base in ("http://a.test", "http://b.test", "https://a.test", "http://a.test:8000"):
        made = client.get("/count", base_url=base).text
        assert client.get("/count", base_url=base).text == made
    assert made == "4"


@pytest.mark.parametrize("personal", [{"Cookie": "session=1"}, {"Authorization": "Bearer secret"}])
def test_who_is_known_gets_no_kept_answer_and_leaves_none(
    shop: Shop,
    personal: Mapping[str, str],
) -> None:
    assert shop.get(**personal) == "1"
    assert shop.get() == "2"
    assert shop.get(**personal) == "3"
    assert shop.get() == "2"


def greet(number: int) -> str:
    return f"{session.get('name')} {number}"


def enter(number: int) -> str:
    session["number"] = number
    return str(number)


def offer_a_cookie(number: int) -> Response:
    response = make_response(str(number))
    response.set_cookie("number", str(number))
    return response


def translate(number: int) -> Response:
    response = make_response(f"{request.accept_languages} {number}")
    response.vary.add("Accept-Language")
    return response


def stream(number: int) -> Response:
    response = Response(iter(str(number)))
    response.set_etag("stream")
    return response


def fail(_: int) -> str:
    abort(HTTPStatus.NOT_FOUND)


def refuse(number: int) -> tuple[str, int]:
    return str(number), HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("make", [greet, enter, offer_a_cookie, translate, stream, fail, refuse])
def test_what_is_not_for_all_is_not_kept(shop: Shop, make: Callable[[int], Any]) -> None:
    shop.add("/special", make)
    for _ in range(2):
        shop.get("/special")
    assert shop.runs == 2


def test_what_is_checked_each_time_is_not_kept(shop: Shop) -> None:
    shop.add("/checked", str, is_checked=True)
    assert [shop.get("/checked") for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("directives", ["private", "no-store", "public, no-store", ""])
def test_what_is_not_for_all_to_store_is_not_kept(shop: Shop, directives: str) -> None:
    runs = iter("123")
    shop.app.add_url_rule("/own", "own", lambda: (next(runs), {"Cache-Control": directives}))
    keep_view(shop.app, "own")
    assert [shop.get("/own") for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("kept", [b"", b"\x92\x90\xc3", b"\x92\x91\x92\xa1X\xa3a\nb\xc4\x00"])
def test_a_kept_answer_that_is_none_is_made_anew(shop: Shop, kept: bytes) -> None:
    shop.get()
    store = shop.app.extensions["cache"]
    (key,) = (key for key in store.backend.keys(store.release) if ":value:" in key)
    entry = msgpack.decode(store.open(key, store.backend.get_many([key])[0]))
    other = msgpack.encode([*entry[:2], kept])
    store.backend.set(key, store.sign(key, other) + other, 60)
    assert shop.get() == "2"


def test_a_request_s_log_line_has_the_figures(
    client: FlaskClient,
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    client.get("/count")
    client.get("/count")
    miss, hit = logged()
    assert miss["cache_misses"] == hit["cache_hits"] == 1
    assert "cache_hits" not in miss
    assert "cache_misses" not in hit
    assert miss["cache_ms"] >= 0
    assert hit["cache_ms"] >= 0
