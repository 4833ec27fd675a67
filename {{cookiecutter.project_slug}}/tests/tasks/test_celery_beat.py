from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from {{ cookiecutter.package_name }} import tasks
from {{ cookiecutter.package_name }}.tasks.celery_beat import ClaimingScheduler

Logged = Callable[[], list[dict[str, Any]]]


@tasks.job(cron="15 3 * * *")
def sweep() -> None:
    """Be due each night."""


@pytest.fixture
def claimed(broker: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The moments that were claimed."""
    taken: list[str] = []

    def claim(slot: str) -> bool:
        taken.append(slot)
        return taken.count(slot) == 1

    monkeypatch.setattr(broker, "claim", claim)
    return taken


def tick(broker: Any, now: datetime) -> None:
    """Let a scheduler find `sweep` due that has last sent it in the night before."""
    scheduler = ClaimingScheduler(broker.celery, lazy=True)
    scheduler.setup_schedule()
    entry = scheduler.schedule["sweep"]
    entry.last_run_at = now
    scheduler.apply_entry(entry)


def test_two_schedulers_send_a_job_once(broker: Any, claimed: list[str], logged: Logged) -> None:
    for second in (3, 40):
        tick(broker, datetime(2026, 11, 20, 3, 15, second, tzinfo=UTC))
    assert claimed == ["sweep-20261121T0315"] * 2
    assert broker.count()["default"] == 1
    (line,) = [line for line in logged() if line["event"] == "scheduled job was sent"]
    assert broker.find(line["job_id"]).state == "queued"


def test_a_failure_does_not_end_the_scheduler(
    broker: Any,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "claim", Mock(side_effect=ConnectionError))
    tick(broker, datetime(2026, 11, 20, 3, 15, tzinfo=UTC))
    assert logged()[-1]["event"] == "scheduled job was not sent"
