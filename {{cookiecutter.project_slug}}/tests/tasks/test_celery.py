import signal
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from celery.app.task import Context
from celery.beat import Service
from celery.contrib.testing.worker import start_worker
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_failure
from celery.worker import state
from kombu.exceptions import OperationalError

from {{ cookiecutter.package_name }} import tasks
from {{ cookiecutter.package_name }}.tasks.celery import (
    WorkerDiedError,
    leave_logging,
)
from {{ cookiecutter.package_name }}.tasks.running import Unavailable

Logged = Callable[[], list[dict[str, Any]]]

PATIENCE = 30


@tasks.job(queue=tasks.HIGH, time_limit=60, cron="15 3 * * *")
def divide(one: int, other: int) -> float:
    """Work, or fail."""
    tasks.report(1, 2)
    return one / other


@tasks.job()
def look() -> bool:
    """Tell whether its message is acknowledged already."""
    return any(request.acknowledged for request in state.active_requests)


@tasks.job(attempts=2)
def call_in_vain() -> None:
    """Fail for a reason that may pass."""
    raise ConnectionError("secret")


def finish(broker: Any, job_id: str) -> tasks.JobStatus:
    """Have a worker in this process do jobs until one is done."""
    deadline = time.monotonic() + PATIENCE
    with start_worker(broker.celery, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        while (status := broker.find(job_id)).state not in {"succeeded", "failed"}:
            assert time.monotonic() < deadline, status
            time.sleep(0.01)
    found: tasks.JobStatus = status
    return found


def test_a_job_is_done(broker: Any, logged: Logged) -> None:
    with broker.flask.app_context():
        job_id = divide.enqueue(1, other=2, reason="to know")
        assert tasks.count() == {"high": 1, "default": 0, "low": 0, "failed": 0}
        assert broker.find(job_id).attempts == 0
        assert broker.find("nothing") is None
    status = finish(broker, job_id)
    assert (status.name, status.attempts, status.result) == ("divide", 1, 0.5)
    assert (status.done, status.total) == (1, 2)
    (line,) = [line for line in logged() if line["event"] == "job"]
    assert (line["job_id"], line["reason"]) == (job_id, "to know")


def test_a_message_is_json_with_limits(broker: Any) -> None:
    with broker.flask.app_context():
        divide.enqueue(1, 2)
    with broker.celery.connection_for_read() as connection:
        message = broker.queue("high").bind(connection.default_channel).get(accept=["json"])
    assert message.headers["timelimit"] == [65, 60]
    assert message.content_type == "application/json"


def test_a_message_is_acknowledged_after_the_work(broker: Any) -> None:
    with broker.flask.app_context():
        job_id = look.enqueue()
    assert finish(broker, job_id).result is False


def test_a_result_is_not_kept_for_ever(make_broker: Callable[..., Any]) -> None:
    assert make_broker(JOB_RESULT_TTL="90").celery.backend.expires == 90


def test_a_transient_error_is_followed_by_another_attempt(broker: Any, logged: Logged) -> None:
    with broker.flask.app_context():
        job_id = call_in_vain.enqueue()
    status = finish(broker, job_id)
    assert (status.state, status.attempts, status.error) == ("failed", 2, "ConnectionError")
    told = [line["event"] for line in logged() if line.get("job_id") == job_id]
    # Celery has lines of its own, which `flask worker` leaves out.
    lines = [event for event in told if event.startswith("job")]
    assert lines == ["job", "job is tried again", "job", "job failed"]


def test_a_failed_job_is_kept_until_it_is_sent_again(broker: Any) -> None:
    with broker.flask.app_context():
        first, second = divide.enqueue(1, 0, reason="to fail"), divide.enqueue(2, 0)
        finish(broker, second)
        for _ in range(2):
            assert {status.id for status in broker.failed()} == {first, second}
        assert broker.failed()[0].error == "ZeroDivisionError"
        assert broker.retry(first)
        assert not broker.retry("nothing")
        assert [status.id for status in broker.failed()] == [second]
        assert tasks.count() == {"high": 1, "default": 0, "low": 0, "failed": 1}
        assert finish(broker, first).error == "ZeroDivisionError"


def test_others_may_have_taken_a_failed_job(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Mock()
    queue.bind.return_value.queue_declare.return_value.message_count = 1
    queue.bind.return_value.get.return_value = None
    monkeypatch.setattr(broker, "queue", lambda _: queue)
    assert broker.failed() == []


@pytest.mark.parametrize(("starts", "is_refused"), [(1, False), (5, True)])
def test_a_job_that_kills_its_workers_ends(broker: Any, starts: int, *, is_refused: bool) -> None:
    task = broker.celery.tasks["divide"]
    task.push_request(id="1", retries=0, delivery_info={"redelivered": True})
    progress = {"attempts": starts, "done": 0, "total": None}
    task.backend.store_result("1", progress, "STARTED")
    try:
        if is_refused:
            with pytest.raises(WorkerDiedError):
                task.count_attempts()
        else:
            assert task.count_attempts() == starts + 1
    finally:
        task.pop_request()


def test_a_job_that_had_not_begun_is_not_counted(broker: Any) -> None:
    task = broker.celery.tasks["divide"]
    task.push_request(id="unknown", retries=0, delivery_info={"redelivered": True})
    assert task.count_attempts() == 1
    task.pop_request()


def test_a_job_that_was_killed_is_kept_once(broker: Any, logged: Logged) -> None:
    task = broker.celery.tasks["divide"]
    told = {"exception": SoftTimeLimitExceeded(), "args": [1, 2], "kwargs": {}}
    task_failure.send(task, **told)
    task.request_stack.push(Context(id="1", task="divide", retries=1, headers=None))
    task_failure.send(task, **told)
    task.request_stack.pop()
    (alert,) = [line for line in logged() if line["event"] == "job failed"]
    assert (alert["job_id"], alert["attempt"]) == ("1", 2)
    (status,) = broker.failed()
    assert (status.attempts, status.error) == (2, "SoftTimeLimitExceeded")


@pytest.mark.parametrize("error", [OperationalError, ConnectionRefusedError])
def test_a_broker_that_is_gone_takes_no_job(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    broker.check()
    gone = Mock(ping=Mock(side_effect=error))
    monkeypatch.setattr(broker, "queue", Mock(side_effect=error))
    monkeypatch.setattr(broker.celery.backend, "store_result", Mock(side_effect=error))
    monkeypatch.setattr(broker.celery.backend, "get_task_meta", Mock(side_effect=error))
    monkeypatch.setattr(broker.celery.control, "inspect", Mock(return_value=gone))
    with broker.flask.app_context():
        with pytest.raises(Unavailable):
            tasks.count()
        with pytest.raises(Unavailable):
            divide.enqueue(1, 2)
        with pytest.raises(Unavailable):
            tasks.find("1")
        for ask in (broker.failed, broker.schedule):
            with pytest.raises(Unavailable):
                ask()
    assert not broker.is_worker_alive()


def test_no_worker_of_this_host_answers(make_broker: Callable[..., Any]) -> None:
    broker = make_broker(READINESS_TIMEOUT="0.01")
    result = broker.flask.test_cli_runner().invoke(args=["worker-health"])
    assert result.exit_code == 1
    assert result.output == "Error: no worker of this host answers\n"


def test_a_worker_answers(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = Mock(ping=Mock(return_value={"1@host": {"ok": "pong"}}))
    monkeypatch.setattr(broker.celery.control, "inspect", Mock(return_value=inspection))
    assert broker.flask.test_cli_runner().invoke(args=["worker-health"]).exit_code == 0


def test_a_worker_serves_all_queues(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Mock(return_value=Mock(exitcode=7))
    monkeypatch.setattr(broker.celery, "Worker", worker)
    leave_logging()
    assert broker.flask.test_cli_runner().invoke(args=["worker"]).exit_code == 7
    assert worker.call_args.kwargs["pool"] == "prefork"
    served = [queue.name for queue in broker.celery.conf.task_queues]
    assert served == ["high", "default", "low"]


def test_a_scheduler_ends_when_told(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "start", lambda _: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert broker.flask.test_cli_runner().invoke(args=["scheduler"]).exit_code == 0
    finally:
        signal.signal(signal.SIGTERM, before)
