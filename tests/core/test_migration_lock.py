"""The lock of migrations, with functions instead of a database."""

from itertools import count
from threading import Event

import pytest

from {{ cookiecutter.package_name }}.core import migration_lock


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_lock, "MAX_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(migration_lock, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(migration_lock, "RENEWAL_SECONDS", 0.01)


def test_lock_is_renewed_after_a_failure_and_released_after_an_error() -> None:
    calls: list[str] = []
    has_renewed = Event()

    def renew() -> None:
        if not calls:
            calls.append("failure")
            raise ConnectionError
        has_renewed.set()

    def migrate() -> None:
        with migration_lock.hold_lock(lambda: True, renew, lambda: calls.append("release")):
            assert has_renewed.wait(10)
            raise ValueError("migration failed")

    with pytest.raises(ValueError, match="migration failed"):
        migrate()
    assert calls == ["failure", "release"]


def test_lock_is_acquired_when_it_is_free() -> None:
    attempts = count(1)
    with migration_lock.hold_lock(lambda: next(attempts) == 3, Event, Event):
        pass
    assert next(attempts) == 4


def test_lock_that_stays_taken_raises_and_is_not_released() -> None:
    released = Event()
    with (
        pytest.raises(TimeoutError, match="another migration"),
        migration_lock.hold_lock(lambda: False, Event, released.set),
    ):
        pass
    assert not released.is_set()
