import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from celery import shared_task
from celery.app.task import Context
from celery.canvas import Signature
from celery.contrib.testing.worker import start_worker
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import celeryd_init, task_failure
from celery.worker import state
from kombu.exceptions import OperationalError
from structlog.contextvars import bound_contextvars, get_contextvars

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core import tasks
from {{ cookiecutter.package_name }}.core.tasks import celery
from {{ cookiecutter.package_name }}.core.tasks.celery import WorkerDiedError

Logged = Callable[[], list[dict[str, Any]]]

TIMEOUT = 30


@shared_task(soft_time_limit=60)
def divide(one: int, other: int) -> float:
    tasks.report_progress(1, 2)
    return one / other


@shared_task
def is_acknowledged() -> bool:
    """Return whether its message is already acknowledged."""
    return any(request.acknowledged for request in state.active_requests)


@shared_task(max_retries=1)
def fail_twice() -> None:
    raise ConnectionError("secret")


@shared_task(max_retries=1)
def fail_once() -> None:
    if get_contextvars()["attempt"] == 1:
        raise ConnectionError


def run_until_done(broker: Any, result: Any) -> tasks.JobStatus:
    """Run a worker in this process until a job has ended."""
    deadline = time.monotonic() + TIMEOUT
    with start_worker(broker.celery, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        while (status := broker.get_status(result.id)).state not in {"succeeded", "failed"}:
            assert time.monotonic() < deadline, status
            time.sleep(0.01)
    found: tasks.JobStatus = status
    return found


def test_worker_runs_job(broker: Any, read_logs: Logged) -> None:
    with broker.flask.app_context(), bound_contextvars(reason="to know"):
        result = divide.apply_async((1,), {"other": 2}, queue="high")
        assert tasks.queue_sizes() == {"high": 1, "default": 0, "low": 0, "failed": 0}
        assert broker.get_status(result.id).attempts == 0
        assert broker.get_status("nothing") is None
    status = run_until_done(broker, result)
    assert (status.name, status.attempts, status.result) == (divide.name, 1, 0.5)
    assert (status.done, status.total) == (1, 2)
    assert result.get(timeout=TIMEOUT) == 0.5
    (line,) = [line for line in read_logs() if line["event"] == "job finished"]
    assert (line["job_id"], line["reason"], line["outcome"]) == (result.id, "to know", "succeeded")


@pytest.mark.parametrize(("options", "limit"), [({}, 60), ({"soft_time_limit": 9999}, 60)])
def test_message_is_json_with_time_limits(broker: Any, options: Any, limit: float) -> None:
    with broker.flask.app_context():
        divide.apply_async((1, 2), **options)
    with broker.celery.connection_for_read() as connection:
        queue = broker.celery.amqp.queues["default"].bind(connection.default_channel)
        message = queue.get(accept=["json"])
    assert message.headers["timelimit"] == [limit + 5, limit]
    assert message.content_type == "application/json"


def test_message_is_acknowledged_after_the_job(broker: Any) -> None:
    with broker.flask.app_context():
        result = is_acknowledged.delay()
    assert run_until_done(broker, result).result is False


def test_result_expires(make_broker: Callable[..., Any]) -> None:
    assert make_broker(JOB_RESULT_TTL="90").celery.backend.expires == 90


def test_transient_error_is_retried(broker: Any, read_logs: Logged) -> None:
    with broker.flask.app_context():
        result = fail_twice.delay()
    status = run_until_done(broker, result)
    assert (status.state, status.attempts, status.error) == ("failed", 2, "ConnectionError")
    events = [line["event"] for line in read_logs() if line.get("job_id") == result.id]
    # `celery worker` disables the log lines of Celery itself.
    assert [event for event in events if event.startswith("job")] == [
        "job finished",
        "job retried",
        "job finished",
        "job failed",
    ]


def test_retry_that_cannot_be_sent_is_not_lost(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors, send = [OperationalError], Signature.apply_async

    def apply_async(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return send(*args, **kwargs)

    monkeypatch.setattr(Signature, "apply_async", apply_async)
    with broker.flask.app_context():
        result = fail_once.delay()
    assert run_until_done(broker, result).state == "succeeded"
    assert not errors


def test_dead_letter_is_sent_again(broker: Any) -> None:
    with broker.flask.app_context():
        first, second = divide.delay(1, 0), divide.delay(2, 0)
        run_until_done(broker, second)
        for _ in range(2):
            assert {status.id for status in broker.failed()} == {first.id, second.id}
        (status, _) = broker.failed()
        assert (status.name, status.attempts) == (divide.name, 1)
        assert status.error == "ZeroDivisionError"
        assert broker.retry(first.id)
        assert not broker.retry("nothing")
        assert [status.id for status in broker.failed()] == [second.id]
        assert tasks.queue_sizes() == {"high": 0, "default": 1, "low": 0, "failed": 1}
        assert run_until_done(broker, first).error == "ZeroDivisionError"


def test_dead_letter_taken_by_another_process_is_skipped(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Mock()
    queue.bind.return_value.queue_declare.return_value.message_count = 1
    queue.bind.return_value.get.return_value = None
    monkeypatch.setattr(celery, "get_queue", lambda _: queue)
    assert broker.failed() == []


@pytest.mark.parametrize(("retries", "is_final"), [(0, False), (4, True)])
def test_job_that_kills_its_workers_ends(broker: Any, retries: int, *, is_final: bool) -> None:
    task = broker.celery.tasks[divide.name]
    request = Context(id="1", retries=retries, delivery_info={"redelivered": True})
    task.backend.store_result("1", None, "STARTED", request=request)
    task.request_stack.push(request)
    try:
        if is_final:
            with pytest.raises(WorkerDiedError):
                task.before_start("1", (), {})
        else:
            task.before_start("1", (), {})
            assert broker.get_status("1").attempts == retries + 2
    finally:
        task.request_stack.pop()


def test_redelivered_job_that_had_not_started_is_not_counted(broker: Any) -> None:
    task = broker.celery.tasks[divide.name]
    task.request_stack.push(Context(id="2", retries=0, delivery_info={"redelivered": True}))
    task.before_start("2", (), {})
    assert task.request.retries == 0
    task.request_stack.pop()


def test_killed_job_is_one_dead_letter(broker: Any, read_logs: Logged) -> None:
    task = broker.celery.tasks[divide.name]
    signal = {"exception": SoftTimeLimitExceeded(), "args": [1, 2], "kwargs": {}}
    task_failure.send(task, **signal)
    task.request_stack.push(Context(id="1", task=divide.name, retries=1, headers=None))
    task_failure.send(task, **signal)
    task.request_stack.pop()
    (alert,) = [line for line in read_logs() if line["event"] == "job failed"]
    assert (alert["job_id"], alert["attempt"]) == ("1", 2)
    (status,) = broker.failed()
    assert (status.attempts, status.error) == (2, "SoftTimeLimitExceeded")


@pytest.mark.parametrize("error", [OperationalError, ConnectionRefusedError])
def test_unreachable_broker_raises_broker_unavailable(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    broker.ping()
    monkeypatch.setattr(celery, "get_queue", Mock(side_effect=error))
    monkeypatch.setattr(broker.celery.backend, "store_result", Mock(side_effect=error))
    monkeypatch.setattr(broker.celery.backend, "get_task_meta", Mock(side_effect=error))
    with broker.flask.app_context():
        for call in (
            tasks.queue_sizes,
            broker.failed,
            lambda: divide.delay(1, 2),
            lambda: tasks.get_status("1"),
        ):
            with pytest.raises(tasks.BrokerUnavailable):
                call()
    with pytest.raises(SystemExit, match="the broker does not respond: see BROKER_URL"):
        celery.exit_without_broker(broker.celery)


def test_worker_needs_broker(make_app: Callable[..., Any]) -> None:
    app = make_app(BROKER_URL="inline://", RESULT_URL="inline://")
    with pytest.raises(SystemExit, match="without BROKER_URL"):
        celery.exit_without_broker(app.extensions["celery"])


def test_worker_stores_results_for_minutes(broker: Any) -> None:
    celeryd_init.send("worker", instance=Mock(app=broker.celery), conf=broker.celery.conf)
    assert broker.celery.conf.result_backend_max_retries == celery.RESULT_STORE_RETRIES


def test_variable_that_celery_prefers_is_reported(
    make_app: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    with pytest.raises(SettingsError, match="CELERY_BROKER_URL: unset it"):
        make_app(BROKER_URL="inline://", RESULT_URL="inline://")


def test_worker_does_not_serve_dead_letters(broker: Any) -> None:
    served = [queue.name for queue in broker.celery.conf.task_queues]
    assert served == ["high", "default", "low"]


def test_task_belongs_to_the_current_application(make_app: Callable[..., Any]) -> None:
    first, _ = make_app(), make_app()
    with first.app_context():
        assert divide.delay(1, 2).app is first.extensions["celery"]


def test_state_of_a_task_counts_as_running(broker: Any) -> None:
    broker.celery.backend.store_result("3", {"current": 1}, "PROGRESS")
    assert broker.get_status("3").state == "running"
