import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Semaphore, get_ident

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core.cache.memory import MemoryBackend
from {{ cookiecutter.package_name }}.core.cache.store import Store

from .counter import CODEC, CachedCounter

# Seconds; no operation in this module takes that long.
LONG = 20


@pytest.fixture
def store(make_app: Callable[..., Flask]) -> Store:
    """A store whose lock timeout no test reaches."""
    found: Store = make_app(CACHE_LOCK_TIMEOUT=str(LONG)).extensions["cache"]
    found.remaining_seconds = lambda: LONG
    return found


@pytest.fixture
def waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> Semaphore:
    """Count the callers that have started to wait."""
    found = Semaphore(0)
    callers: set[int] = set()
    wait = store.wait

    def count() -> None:
        if get_ident() not in callers:
            callers.add(get_ident())
            found.release()
        wait()

    monkeypatch.setattr(store, "wait", count)
    return found


def test_one_caller_computes_and_the_others_wait(
    store: Store, waiting: Semaphore, metrics: Counter[str]
) -> None:
    counter = CachedCounter(store)

    def compute() -> int:
        for _ in range(3):
            assert waiting.acquire(timeout=LONG)
        return counter.compute()

    with ThreadPoolExecutor() as pool:
        results = [pool.submit(counter.get, compute) for _ in range(4)]
    assert [result.result() for result in results] == [1, 1, 1, 1]
    assert metrics == {"misses": 1, "hits": 3}


def test_others_get_the_stale_value_while_one_computes(store: Store, metrics: Counter[str]) -> None:
    counter = CachedCounter(store, ttl=0)
    assert counter.get() == 1
    started, released = Event(), Event()

    def compute() -> int:
        started.set()
        assert released.wait(LONG)
        return counter.compute()

    with ThreadPoolExecutor() as pool:
        result = pool.submit(counter.get, compute)
        assert started.wait(LONG)
        assert [counter.get() for _ in range(3)] == [1, 1, 1]
        released.set()
        assert result.result() == 2
    assert metrics == {"misses": 2, "stale": 3}


def test_waiting_caller_computes_after_a_failure(store: Store, waiting: Semaphore) -> None:
    counter = CachedCounter(store)
    started = Event()

    def fail() -> int:
        started.set()
        assert waiting.acquire(timeout=LONG)
        raise LookupError

    with ThreadPoolExecutor() as pool:
        failed = pool.submit(counter.get, fail)
        assert started.wait(LONG)
        begun = time.monotonic()
        assert counter.get() == 1
        assert isinstance(failed.exception(), LookupError)
    # The lock was released; no caller reached its timeout.
    assert time.monotonic() - begun < LONG / 2


@pytest.mark.parametrize("fails", [True, False])
def test_uncacheable_value_is_computed_concurrently(
    store: Store, waiting: Semaphore, *, fails: bool
) -> None:
    codec = CODEC._replace(encode=lambda _: None)
    # The first caller, and then all the others together.
    together = Barrier(4, timeout=LONG / 2)
    first = iter([True])

    def compute() -> int:
        if next(first, False):
            for _ in range(4):
                assert waiting.acquire(timeout=LONG)
        else:
            together.wait()
        if fails:
            raise LookupError
        return 1

    def get() -> int:
        try:
            number: int = store.get_or_compute("number", ["pens"], 60, codec, compute)
        except LookupError:
            return 1
        return number

    with ThreadPoolExecutor() as pool:
        results = [pool.submit(get) for _ in range(5)]
    assert [result.result() for result in results] == [1] * 5


def test_uncacheable_value_may_become_cacheable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CachedCounter(store)

    def fail() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        counter.get(fail)
    assert [counter.get(), counter.get()] == [1, 2]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3)
    assert [counter.get(), counter.get()] == [3, 3]


def test_failure_keeps_the_stale_value(store: Store) -> None:
    counter = CachedCounter(store, ttl=0)
    assert counter.get() == 1

    def fail() -> int:
        with ThreadPoolExecutor() as pool:
            assert pool.submit(counter.get).result() == 1
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            counter.get(fail)


def test_caller_computes_after_the_lock_timeout(store: Store) -> None:
    counter = CachedCounter(store)
    started, released = Event(), Event()

    def compute() -> int:
        started.set()
        assert released.wait(LONG)
        return 10

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(counter.get, compute)
        assert started.wait(LONG)
        store.lock_timeout = 0
        assert counter.get() == 1
        released.set()
        assert slow.result() == 10


def test_value_is_looked_up_again_with_the_lock(
    store: Store, metrics: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CachedCounter(store)
    add = store.backend.add
    others = iter([counter.compute])

    def add_late(key: str, value: bytes, ttl: int) -> bool:
        # Another caller computes the value between the lookup and the lock.
        for compute in others:
            counter.get(compute)
        return add(key, value, ttl)

    monkeypatch.setattr(store.backend, "add", add_late)
    assert counter.get() == 1
    assert metrics == {"misses": 1, "hits": 1}


def test_expired_lock_of_another_caller_is_not_released(make_app: Callable[..., Flask]) -> None:
    backend = MemoryBackend()
    store = Store(backend, get_settings(make_app()))
    store.lock_timeout = 0.01

    def compute_slowly() -> int:
        (lock,) = (key for key in backend.keys("") if ":lock:" in key)
        while not backend.add(lock, b"other", LONG):
            store.wait()
        return 1

    assert CachedCounter(store).get(compute_slowly) == 1
    assert [value for _, value in backend.values.values() if value == b"other"]
