import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from flask import Flask
from msgspec.structs import replace

from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core.cache.store import Entry, Store

from .counter import CODEC, CachedCounter

decode = msgspec.msgpack.Decoder(Entry).decode


def test_value_is_computed_once(store: Store, metrics: Counter[str]) -> None:
    counter = CachedCounter(store)
    assert [counter.get() for _ in range(3)] == [1, 1, 1]
    assert metrics == {"misses": 1, "hits": 2}


def test_names_have_separate_values(store: Store) -> None:
    for number in range(3):
        compute = partial(int, number)
        assert store.get_or_compute(f"name {number}", (), 60, CODEC, compute) == number


def test_uncacheable_value_is_computed_each_time(store: Store) -> None:
    counter = CachedCounter(store)
    codec = CODEC._replace(encode=lambda _: None)
    numbers = [store.get_or_compute("n", (), 60, codec, counter.compute) for _ in range(3)]
    assert numbers == [1, 2, 3]


def test_ttls_vary_by_a_tenth(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = []

    def record(_: str, value: bytes, ttl: int) -> None:
        stored.append((decode(value).fresh_until - time.time(), ttl))

    monkeypatch.setattr(store.backend, "set", record)
    for number in range(50):
        store.get_or_compute(f"name {number}", (), 1000, CODEC, lambda: 1)
    fresh = [seconds for seconds, _ in stored]
    assert min(fresh) > 890
    assert max(fresh) <= 1000
    assert max(fresh) - min(fresh) > 20
    # The backend stores a value for as long as it may be used.
    assert all(-2 < ttl - seconds - store.stale_ttl < 2 for seconds, ttl in stored)


@pytest.mark.parametrize("other", [{"CACHE_VERSION": "2"}, {"CACHE_PREFIX": "other"}])
def test_releases_and_services_have_separate_values(
    make_app: Callable[..., Flask],
    other: dict[str, str],
) -> None:
    app = make_app(CACHE_VERSION="1")
    own: Store = app.extensions["cache"]
    foreign = Store(own.backend, replace(get_settings(app), **other))
    for store in (own, foreign):
        assert CachedCounter(store, ["pens"]).get() == 1
    first, second = CachedCounter(own, ["pens"]), CachedCounter(foreign, ["pens"])
    own.invalidate("pens")
    first.computed = second.computed = 1
    assert first.get() == 2
    # A change by one release invalidates the values of another, but not those of a service.
    assert second.get() == (2 if "CACHE_VERSION" in other else 1)


def test_values_are_invalidated_by_each_of_their_tags(store: Store) -> None:
    pens, both = CachedCounter(store, ["pens"]), CachedCounter(store, ["pens", "ink"])
    assert pens.get() == 1
    store.invalidate("ink")
    assert pens.get() == 1
    store.invalidate("pens")
    assert pens.get() == 2

    both.computed = 2
    assert both.get() == 3
    store.invalidate("ink")
    assert both.get() == 4
    assert both.get() == 4


def test_cache_is_bypassed_with_uncommitted_changes(store: Store) -> None:
    counter = CachedCounter(store, ["pens"])
    assert counter.get() == 1
    store.has_uncommitted_changes = lambda tags: "pens" in tags
    assert [counter.get() for _ in range(2)] == [2, 3]
    store.has_uncommitted_changes = lambda _: False
    assert counter.get() == 1

    def compute() -> int:
        store.has_uncommitted_changes = lambda _: True
        return counter.compute()

    store.invalidate("pens")
    assert counter.get(compute) == 4
    store.has_uncommitted_changes = lambda _: False
    assert counter.get() == 5


def test_invalidation_during_the_computation_makes_the_value_invalid(store: Store) -> None:
    counter = CachedCounter(store, ["pens"])

    def compute() -> int:
        number = counter.compute()
        store.invalidate("pens")
        return number

    assert counter.get(compute) == 1
    assert counter.get() == 2
    store.invalidate("pens")
    assert counter.get(compute) == 3
    assert counter.get() == 4
