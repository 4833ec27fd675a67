import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from rq import SimpleWorker
from rq.cron import CronScheduler
from rq.exceptions import DequeueTimeout
from rq.job import Retry

from {{ cookiecutter.package_name }} import tasks
from {{ cookiecutter.package_name }}.tasks import rq_worker
from {{ cookiecutter.package_name }}.tasks.rq_cron import SlotScheduler
from {{ cookiecutter.package_name }}.tasks.rq_worker import (
    Worker,
    note_abandoned,
)
from {{ cookiecutter.package_name }}.tasks.running import Unavailable

Logged = Callable[[], list[dict[str, Any]]]


@tasks.job(queue=tasks.HIGH, time_limit=60, cron="15 3 * * *")
def divide(one: int = 1, other: int = 2) -> float:
    """Work, or fail."""
    tasks.report(1, 2)
    return one / other


@tasks.job(attempts=2)
def call_in_vain() -> None:
    """Fail for a reason that may pass."""
    raise ConnectionError("secret")


@tasks.job(attempts=1)
def end_everything() -> None:
    """Have the worker end when this is done."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Do all jobs that wait, in this process and so in its coverage."""
    monkeypatch.setattr(Worker, "execute_job", SimpleWorker.execute_job)
    monkeypatch.setattr(Worker, "_start_scheduler", Mock())
    monkeypatch.setattr(rq_worker, "PAUSE", 0.001)

    def work(broker: Any) -> None:
        with broker.flask.app_context():
            end_everything.enqueue()
            broker.work()

    return work


def test_a_job_is_done(broker: Any, work: Callable[[Any], None], logged: Logged) -> None:
    with broker.flask.app_context():
        job_id = divide.enqueue(1, other=2, reason="to know")
        assert tasks.count() == {"high": 1, "default": 0, "low": 0, "failed": 0}
        assert broker.find(job_id).state == "queued"
        assert broker.find("nothing") is None
    work(broker)
    status = broker.find(job_id)
    assert (status.name, status.attempts, status.result) == ("divide", 1, 0.5)
    assert (status.done, status.total) == (1, 2)
    assert broker.queues["high"].intermediate_queue.get_job_ids() == []
    (line,) = [line for line in logged() if line.get("job_id") == job_id]
    assert (line["event"], line["reason"]) == ("job", "to know")


def test_it_is_json_with_limits(make_broker: Callable[..., Any]) -> None:
    broker = make_broker(JOB_RESULT_TTL="90")
    with broker.flask.app_context():
        divide.enqueue(1, 2)
    (job,) = broker.queues["high"].jobs
    assert (job.timeout, job.result_ttl) == (60, 90)
    assert job.data == b'["divide", null, [1, 2], {}]'


def test_a_transient_error_is_followed_by_another_attempt(
    broker: Any,
    work: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    monkeypatch.setattr(broker, "plan", lambda _: Retry(max=1))
    with broker.flask.app_context():
        job_id = call_in_vain.enqueue()
    work(broker)
    assert broker.find(job_id).state == "retrying"
    work(broker)
    status = broker.find(job_id)
    assert (status.state, status.attempts, status.error) == ("failed", 2, "ConnectionError")
    events = [line["event"] for line in logged() if line.get("job_id") == job_id]
    assert events == ["job", "job is tried again", "job", "job failed"]


def test_attempts_are_further_and_further_apart(broker: Any) -> None:
    waits = broker.plan(5).intervals
    assert len(waits) == 4
    assert all(1 <= wait <= 2**number for number, wait in enumerate(waits, start=1))
    assert broker.plan(1) is None


def test_a_failed_job_is_kept_until_it_is_sent_again(
    broker: Any,
    work: Callable[[Any], None],
) -> None:
    with broker.flask.app_context():
        first, second = divide.enqueue(1, 0), call_in_vain.enqueue()
        work(broker)
        assert [(status.id, status.error) for status in broker.failed()] == [
            (first, "ZeroDivisionError"),
        ]
        assert tasks.count()["failed"] == 1
        assert broker.find(second).state == "retrying"
        assert broker.retry(first)
        assert not broker.retry("nothing")
        assert broker.failed() == []
        assert tasks.count() == {"high": 1, "default": 0, "low": 0, "failed": 0}


def test_a_job_of_one_attempt_is_sent_again(broker: Any) -> None:
    with broker.flask.app_context():
        job_id = end_everything.enqueue()
    queue = broker.queues["default"]
    queue.failed_job_registry.add(queue.fetch_job(job_id))
    assert broker.retry(job_id)


def fetch(broker: Any, job_id: str) -> Any:
    return broker.queues["default"].fetch_job(job_id)


def test_a_job_whose_worker_was_killed_need_not_wait(broker: Any, logged: Logged) -> None:
    with broker.flask.app_context():
        job_id = call_in_vain.enqueue()
    job = fetch(broker, job_id)
    note_abandoned(job)
    assert job.get_retry_interval() == 0
    job.retries_left = 0
    note_abandoned(job)
    Worker([], connection=broker.redis).handle_work_horse_killed(job, 1, 2, None)
    again, failed, killed = logged()
    assert again["event"] == "job is tried again"
    assert failed["event"] == killed["event"] == "job failed"
    assert fetch(broker, job_id).meta["error"] == "WorkerDiedError"


def test_a_job_that_is_taken_is_noted_until_it_runs(broker: Any) -> None:
    with broker.flask.app_context():
        job_id = divide.enqueue()
    queue = broker.queues["high"]
    keys = [queue.key, broker.queues["low"].key]
    assert queue.lpop(keys, 1, connection=broker.redis) == [queue.key.encode(), job_id.encode()]
    assert queue.intermediate_queue.get_job_ids() == [job_id]
    assert queue.lpop(keys, None, connection=broker.redis) is None
    with pytest.raises(DequeueTimeout):
        queue.lpop(keys, 0.01, connection=broker.redis)


def test_a_worker_that_was_not_told_to_end_fails(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Worker, "work", lambda *_, **__: None)
    result = broker.flask.test_cli_runner().invoke(args=["worker"])
    assert result.exit_code == 1
    assert "lost its connection" in result.output


def test_a_worker_gives_signs_of_life(broker: Any) -> None:
    run = broker.flask.test_cli_runner().invoke
    assert run(args=["worker-health"]).exit_code == 1
    worker = Worker(list(broker.queues.values()), connection=broker.redis)
    worker.register_birth()  # type: ignore[no-untyped-call]
    assert worker.get_heartbeat_ttl(Mock()) > worker.job_monitoring_interval / 2
    assert run(args=["worker-health"]).exit_code == 0
    worker.register_death()  # type: ignore[no-untyped-call]


def test_without_redis_no_job_is_taken(make_app: Callable[..., Flask]) -> None:
    app = make_app(BROKER_URL="redis://127.0.0.1:1/0")
    broker = app.extensions["tasks"].broker
    with app.app_context():
        for ask in (broker.check, tasks.count, divide.enqueue, broker.failed, broker.work):
            with pytest.raises(Unavailable):
                ask()
    assert not broker.is_worker_alive()
    assert app.test_cli_runner().invoke(args=["scheduler"]).output.startswith("Error: the broker")


def due(broker: Any) -> SlotScheduler:
    """Make a scheduler for which `divide` is due since a quarter past three."""
    scheduler = SlotScheduler(broker, broker.redis)
    now = datetime.now(UTC)
    for job in scheduler.get_jobs():
        job.next_enqueue_time = now + timedelta(days=1)
        if job.name == "divide":
            job.next_enqueue_time = now.replace(hour=3, minute=15) - timedelta(days=1)
    return scheduler


def test_two_schedulers_send_a_job_once(broker: Any, logged: Logged) -> None:
    assert [len(due(broker).enqueue_jobs()) for _ in range(2)] == [1, 1]
    assert broker.count()["high"] == 1
    (line,) = [line for line in logged() if line["event"] == "scheduled job was sent"]
    assert broker.find(line["job_id"]).state == "queued"


def test_a_failure_does_not_end_the_scheduler(
    broker: Any,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = due(broker)
    monkeypatch.setattr(broker, "send", Mock(side_effect=Unavailable))
    assert scheduler.enqueue_jobs()
    assert logged()[-1]["event"] == "scheduled job was not sent"


def test_a_scheduler_starts(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Mock()
    monkeypatch.setattr(CronScheduler, "start", started)
    assert broker.flask.test_cli_runner().invoke(args=["scheduler"]).exit_code == 0
    started.assert_called_once_with()
