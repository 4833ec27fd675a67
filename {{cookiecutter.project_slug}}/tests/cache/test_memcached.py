from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.memcached import MemcachedBackend
from {{ cookiecutter.package_name }}.cache.store import Store
from {{ cookiecutter.package_name }}.config import SettingsError

from ..fixtures.stand_in import LONG, StandIn
from .numbers import Numbers


@pytest.mark.parametrize(
    "url", ["memcached://", "memcached:///path", "memcached://server:port", "memcached://[::1"]
)
def test_a_bad_address_is_refused_in_one_line(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL: expected memcached or"):
        make_app(CACHE_URL=url)


def test_a_long_list_of_keys_is_whole(stand_in: StandIn) -> None:
    backend = MemcachedBackend(stand_in.url, LONG)
    keys = [f"a:{number}" for number in range(10_000)]
    stand_in.values = dict.fromkeys(map(str.encode, [*keys, "b:1"]), b"")
    assert [*backend.keys("a:")] == keys


@pytest.mark.parametrize(
    "refusal", [b"BUSY currently processing crawler request\r\n", b"ERROR\r\n", b"key=a:1 exp=1\n"]
)
def test_half_a_list_of_keys_is_an_error(
    make_app: Callable[..., Flask],
    stand_in: StandIn,
    refusal: bytes,
) -> None:
    app = make_app(CACHE_URL=stand_in.url)
    stand_in.nonsense = refusal
    stand_in.is_brief = True
    result = app.test_cli_runner().invoke(args=["cache", "clear"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: the cache: ")
    assert len(result.output.splitlines()) == 1


def test_a_key_that_the_protocol_does_not_allow_is_no_outage(
    make_app: Callable[..., Flask],
    stand_in: StandIn,
) -> None:
    store: Store = make_app(CACHE_URL=stand_in.url).extensions["cache"]
    numbers = Numbers(store, ["red pens"])
    assert [numbers.get() for _ in range(2)] == [1, 2]
    assert store.figures["errors"] == 2
    numbers = Numbers(store, ["pens"])
    assert [numbers.get() for _ in range(2)] == [1, 1]
