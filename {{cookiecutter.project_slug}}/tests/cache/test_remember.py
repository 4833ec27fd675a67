from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from msgspec import Struct

from {{ cookiecutter.package_name }}.cache import get_cache, remember
from {{ cookiecutter.package_name }}.cache.store import Store

calls: list[str] = []


class Pen(Struct):
    colour: str
    price: int


class Ink(Struct):
    colour: str


@remember("pens")
def find_pens(colour: str) -> list[Pen]:
    calls.append(colour)
    return [Pen(colour, len(calls))]


@remember("pens")
def find_ink(colour: str) -> Ink | None:
    calls.append(colour)
    return None


@pytest.fixture(autouse=True)
def _context(make_app: Callable[..., Flask]) -> Iterator[None]:
    calls.clear()
    with make_app(CACHE_QUERY_LIFETIME="1000").app_context():
        yield


def test_a_result_is_kept_for_each_set_of_arguments() -> None:
    for _ in range(2):
        assert find_pens("red") == [Pen("red", 1)]
    assert find_pens("blue") == [Pen("blue", 2)]
    assert calls == ["red", "blue"]


def test_nothing_is_a_result() -> None:
    assert [find_ink("red") for _ in range(2)] == [None, None]
    assert calls == ["red"]


def test_a_result_is_forgotten_with_its_tag() -> None:
    find_pens("red")
    get_cache().forget("pens")
    assert find_pens("red") == [Pen("red", 2)]


def test_its_lifetime_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    lifetimes = []

    def note(_: str, __: bytes, lifetime: int) -> None:
        lifetimes.append(lifetime)

    store = get_cache()
    monkeypatch.setattr(store.backend, "set", note)
    find_pens("red")
    assert 900 <= lifetimes[0] - store.stale <= 1000


def test_a_value_of_another_type_is_no_result() -> None:
    find_pens("red")
    store: Store = get_cache()
    (pens,) = (key for key in store.backend.keys(store.release) if ":value:" in key)
    find_ink("red")
    (ink,) = (key for key in store.backend.keys(store.release) if ":value:" in key and key != pens)
    kept: Any = store.backend.get_many([ink])[0]
    store.backend.set(pens, kept, 60)
    assert find_pens("red") == [Pen("red", 3)]
