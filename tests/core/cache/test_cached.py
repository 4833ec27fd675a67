from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask, Response, abort, make_response, request, session
from flask.testing import FlaskClient
from msgspec import msgpack

from {{ cookiecutter.package_name }}.core.cache import cache
from {{ cookiecutter.package_name }}.core.http_caching import public


class Shop:
    """Cached public views that count how often they run."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.runs = 0
        self.add("/count", str)

    def add(self, path: str, respond: Callable[[int], Any], *, revalidate: bool = False) -> None:
        @cache.cached(tags=("pens",))
        @public(revalidate=revalidate)
        def view() -> Response:
            self.runs += 1
            return make_response(respond(self.runs))

        self.app.add_url_rule(path, path, view, methods=["GET", "POST"])

    def get(self, path: str = "/count", **headers: str) -> str:
        """Request a path without credentials."""
        return self.app.test_client(use_cookies=False).get(path, headers=headers).text


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> Shop:
    return Shop(make_app(CACHE_VIEW_TTL="1000", ALLOWED_HOSTS="a.test,b.test,localhost"))


@pytest.fixture
def client(shop: Shop) -> FlaskClient:
    return shop.app.test_client()


def test_response_is_cached_with_its_headers(client: FlaskClient) -> None:
    computed, cached = client.get("/count"), client.get("/count")
    assert (cached.status_code, cached.text) == (200, "1")
    hidden = {"X-Request-ID": "", "Date": ""}
    assert {**cached.headers, **hidden} == {**computed.headers, **hidden}
    assert cached.headers["Cache-Control"].startswith("public, max-age=")


def test_ttl_is_a_setting_or_an_argument(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ttls = []
    store = shop.app.extensions["cache"]
    monkeypatch.setattr(store.backend, "set", lambda *entry: ttls.append(entry[2]))
    shop.app.add_url_rule("/short", "short", cache.cached(ttl=100)(lambda: "short"))
    shop.get()
    shop.get("/short")
    assert 900 <= ttls[0] - store.stale_ttl <= 1000
    assert 90 <= ttls[1] - store.stale_ttl <= 100


def test_view_without_public_is_cached_and_private_for_clients(shop: Shop) -> None:
    runs = iter("123")
    shop.app.add_url_rule("/own", "own", cache.cached()(lambda: next(runs)))
    client = shop.app.test_client()
    responses = [client.get("/own") for _ in range(2)]
    assert [response.text for response in responses] == ["1", "1"]
    assert {response.headers["Cache-Control"] for response in responses} == {"private, no-cache"}


def test_response_is_invalidated_by_its_tag(shop: Shop) -> None:
    assert [shop.get(), shop.get()] == ["1", "1"]
    with shop.app.app_context():
        cache.invalidate("pens")
    assert [shop.get(), shop.get()] == ["2", "2"]


def test_cached_response_is_not_modified_for_its_etag(client: FlaskClient) -> None:
    etag = client.get("/count").headers["ETag"]
    for method in ("GET", "HEAD"):
        again = client.open("/count", method=method, headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == etag
    assert client.get("/count", headers={"If-None-Match": '"old"'}).text == "1"


def test_head_and_get_share_a_response(client: FlaskClient) -> None:
    head = client.head("/count")
    assert head.data == b""
    assert client.get("/count").text == "1"
    assert client.head("/count").headers["Content-Length"] == "1"


def test_post_bypasses_the_cache(client: FlaskClient) -> None:
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    assert client.get("/count").text == "3"
    assert client.post("/count").text == "4"


def test_order_of_parameters_is_ignored(shop: Shop) -> None:
    assert shop.get("/count?a=1&b=2") == shop.get("/count?b=2&a=1") == "1"
    assert shop.get("/count?a=2&b=1") == "2"


def test_order_of_repeated_parameters_matters(shop: Shop) -> None:
    shop.add("/first", lambda _: request.args["a"])
    for query in ("a=1&a=2", "a=2&a=1", "%61=3&a=4", "a=4&%61=3"):
        assert shop.get(f"/first?{query}") == query.partition("=")[2][0]


def test_encoded_question_mark_is_part_of_the_path(shop: Shop) -> None:
    shop.add("/count?a", str)
    assert [shop.get("/count?a?"), shop.get("/count%3Fa")] == ["1", "2"]


def test_each_url_has_its_own_response(client: FlaskClient) -> None:
    for base in ("http://a.test", "http://b.test", "https://a.test", "http://a.test:8000"):
        computed = client.get("/count", base_url=base).text
        assert client.get("/count", base_url=base).text == computed
    assert computed == "4"


@pytest.mark.parametrize(
    "credentials", [{"Cookie": "session=1"}, {"Authorization": "Bearer secret"}]
)
def test_request_with_credentials_bypasses_the_cache(
    shop: Shop,
    credentials: Mapping[str, str],
) -> None:
    assert shop.get(**credentials) == "1"
    assert shop.get() == "2"
    assert shop.get(**credentials) == "3"
    assert shop.get() == "2"


def greet(number: int) -> str:
    return f"{session.get('name')} {number}"


def enter(number: int) -> str:
    session["number"] = number
    return str(number)


def set_cookie(number: int) -> Response:
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


def reject(number: int) -> tuple[str, int]:
    return str(number), HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("respond", [greet, enter, set_cookie, translate, stream, fail, reject])
def test_special_response_is_not_cached(shop: Shop, respond: Callable[[int], Any]) -> None:
    shop.add("/special", respond)
    for _ in range(2):
        shop.get("/special")
    assert shop.runs == 2


@pytest.mark.parametrize("respond", [greet, enter, set_cookie, translate, stream])
def test_special_response_without_public_is_not_cached(
    shop: Shop, respond: Callable[[int], Any]
) -> None:
    numbers = iter(range(1, 3))
    view = cache.cached()(lambda: respond(next(numbers)))
    shop.app.add_url_rule("/special", "special", view)
    assert shop.get("/special") != shop.get("/special")


def test_revalidated_response_is_not_cached(shop: Shop) -> None:
    shop.add("/revalidated", str, revalidate=True)
    assert [shop.get("/revalidated") for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("directives", ["private", "no-store", "public, no-store"])
def test_response_that_forbids_caching_is_not_cached(shop: Shop, directives: str) -> None:
    runs = iter("123")
    view = cache.cached()(lambda: (next(runs), {"Cache-Control": directives}))
    shop.app.add_url_rule("/own", "own", view)
    assert [shop.get("/own") for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("garbage", [b"", b"\x92\x90\xc3", b"\x92\x91\x92\xa1X\xa3a\nb\xc4\x00"])
def test_invalid_cached_response_is_replaced(shop: Shop, garbage: bytes) -> None:
    shop.get()
    store = shop.app.extensions["cache"]
    (key,) = (key for key in store.backend.keys(store.release) if ":value:" in key)
    entry = msgpack.decode(store.backend.get_many([key])[0])
    store.backend.set(key, msgpack.encode([*entry[:2], garbage]), 60)
    assert shop.get() == "2"


def test_log_line_of_a_request_has_cache_metrics(
    client: FlaskClient,
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    client.get("/count")
    client.get("/count")
    miss, hit = read_logs()
    assert miss["cache_misses"] == hit["cache_hits"] == 1
    assert "cache_hits" not in miss
    assert "cache_misses" not in hit
    assert miss["cache_ms"] >= 0
    assert hit["cache_ms"] >= 0
