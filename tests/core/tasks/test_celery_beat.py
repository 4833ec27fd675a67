from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from celery import shared_task
from celery.schedules import crontab

from {{ cookiecutter.package_name }}.core.tasks import celery_beat
from {{ cookiecutter.package_name }}.core.tasks.celery_beat import (
    SingletonScheduler,
)

Logged = Callable[[], list[dict[str, Any]]]


@shared_task
def sweep() -> None:
    pass


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slots that schedulers claimed."""
    claims: list[str] = []

    def claim(_celery: Any, slot: str) -> bool:
        claims.append(slot)
        return claims.count(slot) == 1

    monkeypatch.setattr(celery_beat, "claim", claim)
    return claims


@pytest.fixture
def scheduler(broker: Any) -> SingletonScheduler:
    """A scheduler that sends `sweep` each night and `often` every ten seconds."""
    broker.celery.conf.beat_schedule = {
        "sweep": {"task": sweep.name, "schedule": crontab.from_string("15 3 * * *")},
        "often": {"task": sweep.name, "schedule": 10.0},
    }
    scheduler = SingletonScheduler(broker.celery, lazy=True)
    scheduler.setup_schedule()
    return scheduler


def send(scheduler: SingletonScheduler, now: datetime, name: str = "sweep") -> None:
    """Send an entry that was last due before `now`."""
    entry = scheduler.schedule[name]
    entry.last_run_at = now
    scheduler.apply_entry(entry)


def test_two_schedulers_send_a_job_once(
    broker: Any,
    scheduler: SingletonScheduler,
    claims: list[str],
    read_logs: Logged,
) -> None:
    for second in (3, 40):
        send(scheduler, datetime(2026, 11, 20, 3, 15, second, tzinfo=UTC))
    assert claims == ["sweep-20261121T0315"] * 2
    assert broker.queue_sizes()["default"] == 1
    (line,) = [line for line in read_logs() if line["event"] == "scheduled job was sent"]
    assert broker.get_status(line["job_id"]).state == "queued"


def test_interval_has_no_slot(
    broker: Any,
    scheduler: SingletonScheduler,
    claims: list[str],
) -> None:
    send(scheduler, datetime(2026, 11, 20, 3, 15, tzinfo=UTC), "often")
    assert claims == []
    assert broker.queue_sizes()["default"] == 1


@pytest.mark.parametrize("hours", [-1, 1])
def test_scheduler_follows_a_clock_that_is_set(
    broker: Any,
    claims: list[str],
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    clock = datetime(2026, 11, 20, 4, 10, tzinfo=UTC)
    monkeypatch.setattr(broker.celery, "now", lambda: clock)
    broker.celery.conf.beat_schedule = {
        "sweep": {"task": sweep.name, "schedule": crontab.from_string("15 3 * * *")}
    }
    scheduler = SingletonScheduler(broker.celery, lazy=True)
    scheduler.setup_schedule()
    for step in (timedelta(0), timedelta(hours=hours), timedelta(minutes=6)):
        clock += step
        while not scheduler.tick():
            pass
    assert claims == (["sweep-20261120T0315"] if hours < 0 else [])


def test_failure_does_not_end_the_scheduler(
    scheduler: SingletonScheduler,
    read_logs: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(celery_beat, "claim", Mock(side_effect=ConnectionError))
    send(scheduler, datetime(2026, 11, 20, 3, 15, tzinfo=UTC))
    assert read_logs()[-1]["event"] == "scheduled job was not sent"
