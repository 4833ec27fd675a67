from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.cache.memcached import MemcachedBackend
from {{ cookiecutter.package_name }}.core.cache.store import Store

from ..fixtures.cache_server import CacheServer, replying
from .counter import CachedCounter


@pytest.mark.parametrize(
    "url",
    ["memcached:///path", "memcached://server:port", "memcached://[::1", "memcached://a:b@server"],
)
def test_malformed_url_is_rejected(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL: expected memcached://host:port or"):
        make_app(CACHE_URL=url)


def test_long_list_of_keys_is_complete(cache_server: CacheServer) -> None:
    backend = MemcachedBackend(cache_server.url, 10)
    keys = {f"a:{number}" for number in range(10_000)}
    backend.client.set_many(dict.fromkeys([*keys, "b:1"], b""), 60)
    assert {*backend.keys("a:")} == keys


def test_keys_are_listed_when_the_server_is_no_longer_busy() -> None:
    with replying(b"BUSY currently processing crawler request\r\nkey=a:1 exp=1\r\nEND\r\n") as port:
        backend = MemcachedBackend(f"memcached://127.0.0.1:{port}", 1)
        assert [*backend.keys("a:")] == ["a:1"]


@pytest.mark.parametrize(
    "reply", [b"BUSY currently processing crawler request\r\n", b"ERROR\r\n", b"key=a:1 exp=1\n"]
)
def test_incomplete_list_of_keys_is_an_error(make_app: Callable[..., Flask], reply: bytes) -> None:
    with replying(reply) as port:
        app = make_app(CACHE_URL=f"memcached://127.0.0.1:{port}")
        result = app.test_cli_runner().invoke(args=["cache", "clear"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: cache: ")
    assert len(result.output.splitlines()) == 1


def test_invalid_key_is_no_outage(
    make_app: Callable[..., Flask], cache_server: CacheServer, metrics: Counter[str]
) -> None:
    store: Store = make_app(CACHE_URL=cache_server.url).extensions["cache"]
    counter = CachedCounter(store, ["red pens"])
    assert [counter.get() for _ in range(2)] == [1, 2]
    assert metrics["errors"] == 2
    counter = CachedCounter(store, ["pens"])
    assert [counter.get() for _ in range(2)] == [1, 1]
