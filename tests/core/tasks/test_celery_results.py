import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ssl import CERT_REQUIRED
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.tasks import celery_beat
from {{ cookiecutter.package_name }}.core.tasks.celery_beat import (
    SingletonScheduler,
)
from {{ cookiecutter.package_name }}.core.tasks.celery_results import (
    result_settings,
)


@pytest.fixture
def app(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    """An application that stores results in a folder for a minute."""
    settings = {"RESULT_URL": f"file://{tmp_path}", "JOB_RESULT_TTL": "60"}
    return make_app(BROKER_URL="amqp://localhost", **settings)


@pytest.fixture
def celery(app: Flask) -> Any:
    """The Celery application."""
    return app.extensions["celery"]


def test_state_is_replaced_atomically(celery: Any) -> None:
    def store_states(count: int) -> None:
        for done in range(count):
            celery.backend.store_result("1", {"done": done}, "STARTED")

    store_states(1)
    with ThreadPoolExecutor(1) as pool:
        stored = pool.submit(store_states, 500)
        while not stored.done():
            assert celery.backend.get_task_meta("1")["status"] == "STARTED"
        stored.result()


def test_late_state_does_not_replace_a_final_one(celery: Any) -> None:
    celery.backend.store_result("1", {"done": 1}, "SUCCESS")
    # Celery may have read the state earlier and write only now.
    late = celery.backend.encode({"status": "RETRY", "result": None})
    celery.backend.set(celery.backend.get_key_for_task("1"), late)
    assert celery.backend.get_task_meta("1", cache=False)["status"] == "SUCCESS"


def test_old_results_are_deleted(celery: Any, tmp_path: Path) -> None:
    for job_id, age in [("old", 120), ("new", 0)]:
        celery.backend.store_result(job_id, None, "SENT")
        (file,) = tmp_path.glob(f"*{job_id}")
        changed = file.stat().st_mtime - age
        os.utime(file, (changed, changed))
    celery.tasks["celery.backend_cleanup"].run()
    assert [path.name for path in tmp_path.iterdir()] == ["celery-task-meta-new"]


def test_old_results_are_deleted_each_night(
    celery: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(celery_beat, "exit_without_broker", Mock())
    scheduler = SingletonScheduler(celery, lazy=True)
    scheduler.setup_schedule()
    assert "celery.backend_cleanup" in scheduler.schedule


def test_missing_folder_is_reported(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="RESULT_URL: expected file:///path of a writable"):
        make_app(BROKER_URL="amqp://localhost", RESULT_URL=f"file://{tmp_path}/missing")


def test_other_result_backends_are_those_of_celery() -> None:
    settings = Mock(RESULT_URL="cache+memory://", RESULT_CA_FILE="")
    assert result_settings(settings)["result_backend"] == "cache+memory://"


def test_tls_of_redis_is_verified() -> None:
    tls = {"ssl_cert_reqs": CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    settings = Mock(RESULT_URL="rediss://host/0", RESULT_CA_FILE="/ca.pem")
    assert result_settings(settings)["redis_backend_use_ssl"] == tls
    with pytest.raises(ValueError, match="redis://host/0"):
        result_settings(Mock(RESULT_URL="redis://host/0", RESULT_CA_FILE="/ca.pem"))
