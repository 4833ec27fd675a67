import time
from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.store import Entry, Store

from .numbers import CODEC, Numbers

decode = msgspec.msgpack.Decoder(Entry).decode


def test_a_value_is_made_once(store: Store) -> None:
    numbers = Numbers(store)
    assert [numbers.get() for _ in range(3)] == [1, 1, 1]
    assert store.figures == {"misses": 1, "hits": 2}


def test_names_are_apart(store: Store) -> None:
    for number in range(3):
        assert store.get(f"name {number}", (), 60, CODEC, partial(int, number)) == number


def test_what_must_not_be_kept_is_made_each_time(store: Store) -> None:
    numbers = Numbers(store)
    codec = CODEC._replace(encode=lambda _: None)
    answers = [store.get("number", (), 60, codec, numbers.make) for _ in range(2)]
    assert answers == [1, 2]


def test_lifetimes_vary_by_a_tenth(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def note(key: str, value: bytes, lifetime: int) -> None:
        kept.append((decode(store.open(key, value)).fresh_until - time.time(), lifetime))

    monkeypatch.setattr(store.backend, "set", note)
    for number in range(50):
        store.get(f"name {number}", (), 1000, CODEC, lambda: 1)
    ends = [fresh for fresh, _ in kept]
    assert min(ends) > 890
    assert max(ends) <= 1000
    assert max(ends) - min(ends) > 20
    # The backend has it for as long as the old value may be used.
    assert all(-2 < lifetime - fresh - store.stale < 2 for fresh, lifetime in kept)


@pytest.mark.parametrize("other", [{"CACHE_VERSION": "2"}, {"CACHE_PREFIX": "other"}])
def test_releases_and_services_share_a_cache_and_no_key(
    make_app: Callable[..., Flask],
    other: dict[str, str],
) -> None:
    app = make_app(CACHE_VERSION="1")
    mine: Store = app.extensions["cache"]
    theirs = Store(mine.backend, app.config | other)
    for store in (mine, theirs):
        assert Numbers(store, ["pens"]).get() == 1
    my, their = Numbers(mine, ["pens"]), Numbers(theirs, ["pens"])
    mine.forget("pens")
    my.made = their.made = 1
    assert my.get() == 2
    # What one release changes outdates what the other has read, but not what a service has.
    assert their.get() == (2 if "CACHE_VERSION" in other else 1)


def test_what_has_a_tag_is_forgotten_with_it(store: Store) -> None:
    pens, both = Numbers(store, ["pens"]), Numbers(store, ["pens", "ink"])
    assert pens.get() == 1
    store.forget("ink")
    assert pens.get() == 1
    store.forget("pens")
    assert pens.get() == 2

    both.made = 2
    assert both.get() == 3
    store.forget("ink")
    assert both.get() == 4
    assert both.get() == 4


def test_what_its_caller_is_changing_is_neither_read_nor_kept(store: Store) -> None:
    numbers = Numbers(store, ["pens"])
    assert numbers.get() == 1
    store.is_changing = lambda tags: "pens" in tags
    assert [numbers.get() for _ in range(2)] == [2, 3]
    store.is_changing = lambda _: False
    assert numbers.get() == 1

    def make() -> int:
        store.is_changing = lambda _: True
        return numbers.make()

    store.forget("pens")
    assert numbers.get(make) == 4
    store.is_changing = lambda _: False
    assert numbers.get() == 5


def test_what_was_read_before_a_change_is_not_taken_for_what_was_read_after(
    store: Store,
) -> None:
    numbers = Numbers(store, ["pens"])

    def make() -> int:
        number = numbers.make()
        # Somebody commits a change now.
        store.forget("pens")
        return number

    assert numbers.get(make) == 1
    assert numbers.get() == 2
    store.forget("pens")
    assert numbers.get(make) == 3
    assert numbers.get() == 4
