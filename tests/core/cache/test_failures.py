import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core.cache.memory import MemoryBackend
from {{ cookiecutter.package_name }}.core.cache.store import Store

from .counter import CODEC, CachedCounter

encode = msgspec.msgpack.encode


class FailingBackend(MemoryBackend):
    """Raises `error`, if it is set."""

    errors: tuple[type[Exception], ...] = (OSError,)
    connection_errors: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.calls = 0

    def fail(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.fail()
        return super().get_many(keys)

    def set(self, key: str, value: bytes, ttl: int) -> None:
        self.fail()
        super().set(key, value, ttl)

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        self.fail()
        return super().add(key, value, ttl)

    def delete(self, keys: Collection[str]) -> None:
        self.fail()
        super().delete(keys)


@pytest.fixture
def backend() -> FailingBackend:
    return FailingBackend()


@pytest.fixture
def store(make_app: Callable[..., Flask], backend: FailingBackend) -> Store:
    """A store on a backend that can fail."""
    return Store(backend, get_settings(make_app()))


def warnings(records: list[dict[str, Any]]) -> list[str]:
    return [record["error"] for record in records if record["event"] == "cache failed"]


def test_circuit_opens_after_three_outages(store: Store, backend: FailingBackend) -> None:
    counter = CachedCounter(store, ["pens"])
    backend.error = ConnectionRefusedError()
    assert [counter.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert backend.calls == 3
    assert 0 < store.circuit_open_until - time.monotonic() <= 1

    # One failing attempt opens it again.
    store.circuit_open_until = 0
    assert [counter.get() for _ in range(2)] == [6, 7]
    assert backend.calls == 4

    backend.error = None
    store.circuit_open_until = 0
    assert [counter.get() for _ in range(3)] == [8, 8, 8]


def test_single_outages_do_not_open_the_circuit(
    store: Store, backend: FailingBackend, metrics: Counter[str]
) -> None:
    counter = CachedCounter(store)
    for _ in range(5):
        backend.error = ConnectionResetError()
        counter.get()
        backend.error = None
        counter.get()
    assert metrics["errors"] == 5
    assert store.circuit_open_until == 0


def test_other_errors_do_not_open_the_circuit(
    store: Store, backend: FailingBackend, metrics: Counter[str]
) -> None:
    counter = CachedCounter(store)
    backend.error = OSError("value too large")
    assert [counter.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert metrics["errors"] == backend.calls == 5


@pytest.mark.parametrize("succeeding", range(1, 6))
def test_any_call_of_the_backend_may_fail(
    store: Store, backend: FailingBackend, metrics: Counter[str], succeeding: int
) -> None:
    counter = CachedCounter(store, ["pens"])

    def fail() -> None:
        backend.calls += 1
        if backend.calls > succeeding:
            raise ConnectionResetError

    backend.fail = fail  # type: ignore[method-assign]
    assert counter.get() == 1
    assert 1 <= metrics["errors"] <= 3


def test_warning_is_logged_once_per_interval(
    store: Store, backend: FailingBackend, read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    counter = CachedCounter(store)
    backend.error = OSError("no space left")
    for _ in range(3):
        counter.get()
    assert warnings(read_logs()) == ["OSError: no space left"]
    store.next_warning_at = 0
    counter.get()
    assert len(warnings(read_logs())) == 1


def test_invalidation_during_an_outage_is_done_later(store: Store, backend: FailingBackend) -> None:
    counter = CachedCounter(store, ["pens"])
    assert counter.get() == 1
    backend.error = ConnectionRefusedError()
    store.invalidate("pens")

    backend.error = None
    store.circuit_open_until = 0
    assert counter.get() == 2
    assert counter.get() == 2
    assert not store.pending_invalidations


def test_pending_invalidation_that_fails_is_repeated(store: Store, backend: FailingBackend) -> None:
    counter = CachedCounter(store, ["pens"])
    assert counter.get() == 1
    backend.error = ConnectionRefusedError()
    store.invalidate("pens")
    assert counter.get() == 2
    backend.error = None
    assert counter.get() == 3


def test_invalidation_while_another_is_pending_is_done(
    store: Store, backend: FailingBackend
) -> None:
    counter = CachedCounter(store, ["pens"])
    backend.error = ConnectionRefusedError()
    store.invalidate("pens")
    backend.error = None
    delete, others = backend.delete, iter(["pens"])

    def delete_late(keys: Collection[str]) -> None:
        delete(keys)
        for tag in others:
            assert counter.get() == 1
            # Another thread commits, and cannot reach the cache.
            backend.error = ConnectionRefusedError()
            store.invalidate(tag)
            backend.error = None

    backend.delete = delete_late  # type: ignore[method-assign]
    assert counter.get() == 1
    assert counter.get() == 2


def nest(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


# Bytes that are not MessagePack, MessagePack that is not an entry, and entries of other types.
CORRUPT_ENTRIES = {
    "empty": b"",
    "truncated": encode((9e9, [], encode(7)))[:-1],
    "text": b"not MessagePack",
    "mapping": encode({"fresh_until": 9e9, "versions": [], "value": encode(7)}),
    "too short": encode((9e9, [])),
    "wrong type": encode(("late", [], encode(7))),
    "entry of a text": encode((9e9, [], encode("seven"))),
    "entry of a mapping": encode((9e9, [], encode({"name": "pen"}))),
    "entry of nothing": encode((9e9, [], b"")),
    "nested deeply": nest(100_000),
    "entry that is nested deeply": encode((9e9, [], nest(100_000))),
    "impossible size": b"\xdd\xff\xff\xff\xff",
}


@pytest.fixture
def shared(make_app: Callable[..., Flask]) -> Store:
    """The store of a new application: in memory, or at TEST_CACHE_URL."""
    found: Store = make_app().extensions["cache"]
    return found


@pytest.mark.parametrize("entry", CORRUPT_ENTRIES.values(), ids=CORRUPT_ENTRIES)
def test_corrupt_entry_is_replaced(shared: Store, metrics: Counter[str], entry: bytes) -> None:
    counter = CachedCounter(shared)
    assert counter.get() == 1
    counter.overwrite(entry)
    assert counter.get() == 2
    # The entry is looked up a second time with the lock.
    assert metrics["errors"] == 2
    assert counter.get() == 2


def test_deeply_nested_value_of_any_type_is_an_error(shared: Store, metrics: Counter[str]) -> None:
    codec = CODEC._replace(decode=msgspec.msgpack.decode)
    for entry in (b"", encode((9e9, [], nest(100_000)))):
        assert shared.get_or_compute("number", (), 60, codec, lambda: 1) == 1
        CachedCounter(shared).overwrite(entry)
    assert shared.get_or_compute("number", (), 60, codec, lambda: 2) == 2
    assert metrics["errors"] == 4


def test_stored_data_is_never_executed(shared: Store, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    # A pickle that creates a directory when it is loaded.
    hostile = f"cos\nmkdir\n(V{trap}\ntR.".encode()
    counter = CachedCounter(shared)
    for value in (hostile, encode((9e9, [], hostile))):
        counter.get()
        counter.overwrite(value)
        assert counter.get() == counter.computed
    assert not trap.exists()
