import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore, get_ident

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.memory import MemoryBackend
from {{ cookiecutter.package_name }}.cache.store import Store

from .numbers import Numbers

# Seconds that nothing here takes.
LONG = 20


@pytest.fixture
def store(make_app: Callable[..., Flask]) -> Store:
    """A store in which nobody loses patience."""
    found: Store = make_app(CACHE_PATIENCE=str(LONG)).extensions["cache"]
    return found


@pytest.fixture
def waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> Semaphore:
    """Counts the callers that have begun to wait."""
    found = Semaphore(0)
    known: set[int] = set()
    pause = store.pause

    def note() -> None:
        if get_ident() not in known:
            known.add(get_ident())
            found.release()
        pause()

    monkeypatch.setattr(store, "pause", note)
    return found


def test_one_caller_makes_a_value_and_the_others_wait_for_it(
    store: Store,
    waiting: Semaphore,
) -> None:
    numbers = Numbers(store)

    def make() -> int:
        for _ in range(3):
            assert waiting.acquire(timeout=LONG)
        return numbers.make()

    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(numbers.get, make) for _ in range(4)]
    assert [answer.result() for answer in answers] == [1, 1, 1, 1]
    assert store.figures == {"misses": 1, "hits": 3}


def test_while_a_new_value_is_made_others_get_the_old_one(store: Store) -> None:
    numbers = Numbers(store, lifetime=0)
    assert numbers.get() == 1
    started, released = Event(), Event()

    def make() -> int:
        started.set()
        assert released.wait(LONG)
        return numbers.make()

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(numbers.get, make)
        assert started.wait(LONG)
        assert [numbers.get() for _ in range(3)] == [1, 1, 1]
        released.set()
        assert answer.result() == 2
    assert store.figures == {"misses": 2, "stale": 3}


def test_when_a_value_cannot_be_made_who_waits_tries_it_too(
    store: Store,
    waiting: Semaphore,
) -> None:
    numbers = Numbers(store)

    started = Event()

    def fail() -> int:
        started.set()
        assert waiting.acquire(timeout=LONG)
        raise LookupError

    with ThreadPoolExecutor() as pool:
        broken = pool.submit(numbers.get, fail)
        assert started.wait(LONG)
        begun = time.monotonic()
        assert numbers.get() == 1
        assert isinstance(broken.exception(), LookupError)
    # Nobody lost patience: the lock was gone.
    assert time.monotonic() - begun < LONG / 2


def test_who_waited_long_enough_makes_the_value(store: Store) -> None:
    numbers = Numbers(store)
    started, released = Event(), Event()

    def make() -> int:
        started.set()
        assert released.wait(LONG)
        return 10

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(numbers.get, make)
        assert started.wait(LONG)
        store.patience = 0
        assert numbers.get() == 1
        released.set()
        assert slow.result() == 10


def test_who_gets_the_turn_looks_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(store)
    add = store.backend.add
    others = iter([numbers.make])

    def add_late(key: str, value: bytes, lifetime: int) -> bool:
        # Between the look and the turn somebody else makes it.
        for make in others:
            numbers.get(make)
        return add(key, value, lifetime)

    monkeypatch.setattr(store.backend, "add", add_late)
    assert numbers.get() == 1
    assert store.figures == {"misses": 1, "hits": 1}


def test_a_turn_that_has_ended_is_left_to_who_has_it_now(make_app: Callable[..., Flask]) -> None:
    backend = MemoryBackend()
    store = Store(backend, make_app().config)
    store.patience = 0.01

    def make_slowly() -> int:
        (lock,) = (key for key in backend.keys("") if ":lock:" in key)
        while not backend.add(lock, b"theirs", LONG):
            store.pause()
        return 1

    assert Numbers(store).get(make_slowly) == 1
    assert [value for _, value in backend.values.values() if value == b"theirs"]
