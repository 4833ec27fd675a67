import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import MessageNacked  # type: ignore[import-untyped]
from flask import Flask
from kombu import Producer

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.tasks.celery_beat import ClaimingScheduler
from {{ cookiecutter.package_name }}.tasks.celery_rabbitmq import remove_old_results
from {{ cookiecutter.package_name }}.tasks.jobs import JOBS


def test_results_need_a_place(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="RESULT_URL is missing"):
        make_app(BROKER_URL="amqp://localhost")


def test_messages_are_confirmed_and_queues_replicated(broker: Any) -> None:
    assert broker.celery.conf.broker_transport_options["confirm_publish"]
    low, failed = (broker.queue(name).queue_arguments for name in ("low", "failed"))
    assert low["x-queue-type"] == failed["x-queue-type"] == "quorum"
    assert low["x-dead-letter-routing-key"] == "failed"
    assert "x-delivery-limit" not in failed


def test_a_moment_is_claimed_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "publish", Mock(side_effect=[None, MessageNacked]))
    assert [broker.claim("night"), broker.claim("night")] == [True, False]


def test_old_results_are_removed_each_night(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    settings = {"RESULT_URL": f"file://{tmp_path}", "JOB_RESULT_TTL": "60"}
    app = make_app(BROKER_URL="amqp://localhost", **settings)
    celery = app.extensions["celery"]
    for job_id, age in [("old", 120), ("new", 0)]:
        celery.backend.store_result(job_id, None, "SENT")
        (file,) = tmp_path.glob(f"*{job_id}")
        changed = file.stat().st_mtime - age
        os.utime(file, (changed, changed))
    with app.app_context():
        remove_old_results()
    assert [path.name for path in tmp_path.iterdir()] == ["celery-task-meta-new"]

    scheduler = ClaimingScheduler(celery, lazy=True)
    scheduler.setup_schedule()
    assert scheduler.schedule.keys() == {job.name for job in JOBS.values() if job.cron}
    assert "remove_old_results" in scheduler.schedule
