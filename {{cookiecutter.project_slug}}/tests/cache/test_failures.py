import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.memory import MemoryBackend
from {{ cookiecutter.package_name }}.cache.store import Store

from .numbers import CODEC, Numbers

encode = msgspec.msgpack.encode


class Faulty(MemoryBackend):
    """Fails when it is told to."""

    errors: tuple[type[Exception], ...] = (OSError,)
    outages: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None
        self.asked = 0

    def fail(self) -> None:
        self.asked += 1
        if self.fault:
            raise self.fault

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.fail()
        return super().get_many(keys)

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        self.fail()
        super().set(key, value, lifetime)

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        self.fail()
        return super().add(key, value, lifetime)

    def delete(self, keys: Collection[str]) -> None:
        self.fail()
        super().delete(keys)


@pytest.fixture
def backend() -> Faulty:
    return Faulty()


@pytest.fixture
def store(make_app: Callable[..., Flask], backend: Faulty) -> Store:
    """A store on a backend that can fail."""
    return Store(backend, make_app().config)


def warnings(records: list[dict[str, Any]]) -> list[str]:
    return [record["error"] for record in records if record["event"] == "cache failed"]


def test_after_three_outages_the_cache_is_left_alone_for_a_moment(
    store: Store, backend: Faulty
) -> None:
    numbers = Numbers(store, ["pens"])
    backend.fault = ConnectionRefusedError()
    assert [numbers.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert backend.asked == 3
    assert 0 < store.away_until - time.monotonic() <= 1

    # While it stays away one attempt a moment is enough.
    store.away_until = 0
    assert [numbers.get() for _ in range(2)] == [6, 7]
    assert backend.asked == 4

    backend.fault = None
    store.away_until = 0
    assert [numbers.get() for _ in range(3)] == [8, 8, 8]


def test_one_outage_between_successes_is_none(store: Store, backend: Faulty) -> None:
    numbers = Numbers(store)
    for _ in range(5):
        backend.fault = ConnectionResetError()
        numbers.get()
        backend.fault = None
        numbers.get()
    assert store.figures["errors"] == 5
    assert store.away_until == 0


def test_an_error_that_may_be_of_one_call_is_no_outage(store: Store, backend: Faulty) -> None:
    numbers = Numbers(store)
    backend.fault = OSError("value too large")
    assert [numbers.get() for _ in range(2)] == [1, 2]
    assert backend.asked == 2
    assert store.figures["errors"] == 2


@pytest.mark.parametrize("succeeding", range(1, 6))
def test_it_may_fail_at_any_moment(store: Store, backend: Faulty, succeeding: int) -> None:
    numbers = Numbers(store, ["pens"])

    def fail() -> None:
        backend.asked += 1
        if backend.asked > succeeding:
            raise ConnectionResetError

    backend.fail = fail  # type: ignore[method-assign]
    assert numbers.get() == 1
    assert 1 <= store.figures["errors"] <= 3


def test_a_warning_is_logged_once_in_an_interval(
    store: Store, backend: Faulty, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    numbers = Numbers(store)
    backend.fault = OSError("no space left")
    for _ in range(3):
        numbers.get()
    assert warnings(logged()) == ["OSError: no space left"]
    store.quiet_until = 0
    numbers.get()
    assert len(warnings(logged())) == 1


def test_a_change_while_the_cache_is_away_is_told_later(store: Store, backend: Faulty) -> None:
    numbers = Numbers(store, ["pens"])
    assert numbers.get() == 1
    backend.fault = ConnectionRefusedError()
    store.forget("pens")

    backend.fault = None
    store.away_until = 0
    assert numbers.get() == 2
    assert numbers.get() == 2
    assert not store.missed


def test_a_change_is_told_though_telling_it_fails_once_more(store: Store, backend: Faulty) -> None:
    numbers = Numbers(store, ["pens"])
    assert numbers.get() == 1
    backend.fault = ConnectionRefusedError()
    store.forget("pens")
    assert numbers.get() == 2
    backend.fault = None
    assert numbers.get() == 3


def test_a_change_while_another_is_told_is_told_too(store: Store, backend: Faulty) -> None:
    numbers = Numbers(store, ["pens"])
    backend.fault = ConnectionRefusedError()
    store.forget("pens")
    backend.fault = None
    delete, others = backend.delete, iter(["pens"])

    def delete_late(keys: Collection[str]) -> None:
        delete(keys)
        for tag in others:
            assert numbers.get() == 1
            # Committed by another thread, which cannot reach the cache.
            backend.fault = ConnectionRefusedError()
            store.forget(tag)
            backend.fault = None

    backend.delete = delete_late  # type: ignore[method-assign]
    assert numbers.get() == 1
    assert numbers.get() == 2


def nest(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


# MessagePack that is no entry, or an entry that is no number, and what is no MessagePack.
GARBAGE = {
    "empty": b"",
    "truncated": encode((9e9, [], encode(7)))[:-1],
    "text": b"not MessagePack",
    "another shape": encode({"fresh_until": 9e9, "versions": [], "value": encode(7)}),
    "too short": encode((9e9, [])),
    "another type": encode(("late", [], encode(7))),
    "a text in it": encode((9e9, [], encode("seven"))),
    "another Struct in it": encode((9e9, [], encode({"name": "pen"}))),
    "nothing in it": encode((9e9, [], b"")),
    "nested deeply": nest(100_000),
    "nested deeply in it": encode((9e9, [], nest(100_000))),
    "promised size": b"\xdd\xff\xff\xff\xff",
}


@pytest.fixture
def shared(make_app: Callable[..., Flask]) -> Store:
    """A store on the server that TEST_CACHE_URL names, if there is one."""
    found: Store = make_app().extensions["cache"]
    return found


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_replaced(shared: Store, garbage: bytes) -> None:
    numbers = Numbers(shared)
    assert numbers.get() == 1
    numbers.put(garbage)
    assert numbers.get() == 2
    # It is looked at again when it is our turn to make the value.
    assert shared.figures["errors"] == 2
    assert numbers.get() == 2


def test_what_somebody_else_has_kept_or_changed_is_not_read(shared: Store) -> None:
    numbers = Numbers(shared)
    assert numbers.get() == 1
    shared.backend.set(numbers.key, bytes(16) + encode((9e9, [], encode(7))), 60)
    assert numbers.get() == 2
    assert numbers.get() == 2


def test_a_value_of_any_shape_is_not_nested_for_ever(shared: Store) -> None:
    codec = CODEC._replace(decode=msgspec.msgpack.decode)
    for garbage in (b"", encode((9e9, [], nest(100_000)))):
        assert shared.get("number", (), 60, codec, lambda: 1) == 1
        Numbers(shared).put(garbage)
    assert shared.get("number", (), 60, codec, lambda: 2) == 2
    assert shared.figures["errors"] == 4


def test_nothing_that_a_server_gives_is_executed(shared: Store, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    # What makes a folder when pickle loads it.
    hostile = f"cos\nmkdir\n(V{trap}\ntR.".encode()
    numbers = Numbers(shared)
    for value in (hostile, encode((9e9, [], hostile))):
        numbers.get()
        shared.backend.set(numbers.key, value, 60)
        assert numbers.get() == numbers.made
        numbers.put(value)
        assert numbers.get() == numbers.made
    assert not trap.exists()
