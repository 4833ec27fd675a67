import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.tasks.celery_beat import ClaimingScheduler
from {{ cookiecutter.package_name }}.tasks.celery_results import (
    locate,
    remove_old_results,
)
from {{ cookiecutter.package_name }}.tasks.jobs import JOBS


@pytest.fixture
def app(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    """An application that keeps results in a folder, for a minute."""
    settings = {"RESULT_URL": f"file://{tmp_path}", "JOB_RESULT_TTL": "60"}
    return make_app(BROKER_URL="amqp://localhost", **settings)


@pytest.fixture
def celery(app: Flask) -> Any:
    """Its Celery."""
    return app.extensions["celery"]


def test_a_state_is_never_seen_half_written(celery: Any) -> None:
    def tell(count: int) -> None:
        for done in range(count):
            celery.backend.store_result("1", {"done": done}, "STARTED")

    tell(1)
    with ThreadPoolExecutor(1) as pool:
        telling = pool.submit(tell, 500)
        while not telling.done():
            assert celery.backend.get_task_meta("1")["status"] == "STARTED"
        telling.result()


def test_old_results_are_removed(app: Flask, celery: Any, tmp_path: Path) -> None:
    for job_id, age in [("old", 120), ("new", 0)]:
        celery.backend.store_result(job_id, None, "SENT")
        (file,) = tmp_path.glob(f"*{job_id}")
        changed = file.stat().st_mtime - age
        os.utime(file, (changed, changed))
    with app.app_context():
        remove_old_results()
    assert [path.name for path in tmp_path.iterdir()] == ["celery-task-meta-new"]


def test_that_happens_each_night(celery: Any) -> None:
    scheduler = ClaimingScheduler(celery, lazy=True)
    scheduler.setup_schedule()
    assert scheduler.schedule.keys() == {job.name for job in JOBS.values() if job.cron}
    assert "remove_old_results" in scheduler.schedule


def test_a_folder_has_to_be_there(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"RESULT_URL: .*/missing is no folder"):
        make_app(BROKER_URL="amqp://localhost", RESULT_URL=f"file://{tmp_path}/missing")


def test_other_places_are_left_to_celery() -> None:
    assert locate("cache+memory://") == "cache+memory://"
