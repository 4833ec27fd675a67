from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from msgspec import Struct

from {{ cookiecutter.package_name }}.core.cache import cache, get_store

calls: list[str] = []


class Pen(Struct):
    colour: str
    price: int


class Ink(Struct):
    colour: str


class Model:
    __tablename__ = "pens"


@cache.memoize(tags=(Model,))
def find_pens(colour: str, *, limit: int = 1) -> list[Pen]:
    calls.append(colour)
    return [Pen(colour, len(calls))] * limit


@cache.memoize(ttl=100, tags=("pens",))
def find_ink(colour: str) -> Ink | None:
    calls.append(colour)
    return None


@pytest.fixture(autouse=True)
def _context(make_app: Callable[..., Flask]) -> Iterator[None]:
    calls.clear()
    with make_app(CACHE_QUERY_TTL="1000").app_context():
        yield


def test_result_is_cached_for_each_set_of_arguments() -> None:
    for _ in range(2):
        assert find_pens("red") == [Pen("red", 1)]
    for _ in range(2):
        assert find_pens("red", limit=2) == [Pen("red", 2)] * 2
    assert find_pens("blue") == [Pen("blue", 3)]
    assert calls == ["red", "red", "blue"]


def test_none_is_cached() -> None:
    assert [find_ink("red") for _ in range(2)] == [None, None]
    assert calls == ["red"]


@pytest.mark.parametrize("tag", ["pens", Model])
def test_result_is_invalidated_by_its_tag(tag: Any) -> None:
    find_pens("red")
    cache.invalidate(tag)
    assert find_pens("red") == [Pen("red", 2)]


def test_ttl_is_a_setting_or_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    ttls = []
    store = get_store()
    monkeypatch.setattr(store.backend, "set", lambda *entry: ttls.append(entry[2]))
    find_pens("red")
    find_ink("red")
    assert 900 <= ttls[0] - store.stale_ttl <= 1000
    assert 90 <= ttls[1] - store.stale_ttl <= 100


def test_value_of_another_type_is_computed_again() -> None:
    find_pens("red")
    backend, prefix = get_store().backend, get_store().release
    (pens,) = (key for key in backend.keys(prefix) if ":value:" in key)
    find_ink("red")
    (ink,) = (key for key in backend.keys(prefix) if ":value:" in key and key != pens)
    stored: Any = backend.get_many([ink])[0]
    backend.set(pens, stored, 60)
    assert find_pens("red") == [Pen("red", 3)]
