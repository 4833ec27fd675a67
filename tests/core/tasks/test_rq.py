import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from flask import Flask
from redis import Redis
from rq import SimpleWorker
from rq import Worker as RQWorker
from rq.cron import CronScheduler
from rq.exceptions import DequeueTimeout
from rq.job import Job, Retry
from rq.serializers import JSONSerializer

from {{ cookiecutter.package_name }}.core import tasks
from {{ cookiecutter.package_name }}.core.tasks import (
    rq,
    rq_scheduler,
    rq_worker,
)
from {{ cookiecutter.package_name }}.core.tasks.jobs import SCHEDULER_INTERVAL
from {{ cookiecutter.package_name }}.core.tasks.rq_scheduler import (
    SingletonScheduler,
)
from {{ cookiecutter.package_name }}.core.tasks.rq_work_horse import WorkHorse
from {{ cookiecutter.package_name }}.core.tasks.rq_worker import (
    FlaskJob,
    Worker,
    handle_abandoned,
)

Logged = Callable[[], list[dict[str, Any]]]


@tasks.job(tasks.HIGH, timeout=60)
def divide(one: int = 1, other: int = 2) -> float:
    tasks.report_progress(1, 2)
    return one / other


@tasks.job(max_attempts=2, retry_on=(LookupError,))
def always_fail() -> None:
    raise LookupError("secret")


@tasks.job(max_attempts=1)
def stop_worker() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def run_jobs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Run all jobs in this process, so that coverage counts them."""
    monkeypatch.setattr(RQWorker, "execute_job", SimpleWorker.execute_job)
    monkeypatch.setattr(Worker, "_start_scheduler", Mock())
    monkeypatch.setattr(rq_worker, "POLL_INTERVAL", 0.001)

    def run_jobs(broker: Any) -> None:
        with broker.flask.app_context():
            stop_worker.delay()
            Worker([*broker.queues.values()], connection=broker.redis).work()

    return run_jobs


def test_worker_runs_job(broker: Any, run_jobs: Callable[[Any], None], read_logs: Logged) -> None:
    with broker.flask.test_request_context("/orders"):
        job = divide.delay(1, other=2)
        assert tasks.queue_sizes() == {"high": 1, "default": 0, "low": 0, "failed": 0}
        assert broker.get_status(job.id).state == "queued"
        assert broker.get_status("nothing") is None
    run_jobs(broker)
    status = broker.get_status(job.id)
    assert (status.name, status.attempts, status.result) == (f"{__name__}.divide", 1, 0.5)
    assert (status.done, status.total) == (1, 2)
    assert job.return_value() == 0.5
    assert broker.queues["high"].intermediate_queue.get_job_ids() == []
    (line,) = [line for line in read_logs() if line.get("job_id") == job.id]
    assert (line["event"], line["reason"]) == ("job finished", "GET /orders")


def test_message_is_json_with_time_limits(make_broker: Callable[..., Any]) -> None:
    broker = make_broker(JOB_RESULT_TTL="90")
    with broker.flask.app_context():
        divide.delay(1, 2)
    (job,) = broker.queues["high"].jobs
    assert (job.timeout, job.result_ttl) == (60, 90)
    assert json.loads(job.data) == [f"{__name__}.divide", None, [1, 2], {}]


def test_transient_error_is_retried(
    broker: Any,
    run_jobs: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    read_logs: Logged,
) -> None:
    monkeypatch.setattr(broker, "retry_plan", lambda _: Retry(max=1))
    with broker.flask.app_context():
        job_id = always_fail.delay().id
    run_jobs(broker)
    assert broker.get_status(job_id).state == "retrying"
    run_jobs(broker)
    status = broker.get_status(job_id)
    assert (status.state, status.attempts, status.error) == ("failed", 2, "LookupError")
    events = [line["event"] for line in read_logs() if line.get("job_id") == job_id]
    assert events == ["job finished", "job retried", "job finished", "job failed"]


def test_retries_have_exponential_delays(broker: Any) -> None:
    delays = broker.retry_plan(5).intervals
    assert len(delays) == 4
    assert all(1 <= delay <= 2**number for number, delay in enumerate(delays, start=1))
    assert broker.retry_plan(1) is None


def test_failed_job_is_sent_again(broker: Any, run_jobs: Callable[[Any], None]) -> None:
    with broker.flask.app_context():
        first, second = divide.delay(1, 0).id, always_fail.delay().id
        run_jobs(broker)
        assert [(status.id, status.error) for status in broker.failed()] == [
            (first, "ZeroDivisionError"),
        ]
        assert tasks.queue_sizes()["failed"] == 1
        assert broker.get_status(second).state == "retrying"
        assert broker.retry(first)
        assert not broker.retry("nothing")
        assert broker.failed() == []
        assert tasks.queue_sizes() == {"high": 1, "default": 0, "low": 0, "failed": 0}


def test_job_with_one_attempt_is_sent_again(broker: Any) -> None:
    with broker.flask.app_context():
        job_id = stop_worker.delay().id
    queue = broker.queues["default"]
    queue.failed_job_registry.add(queue.fetch_job(job_id))
    assert broker.retry(job_id)


def fetch(broker: Any, job_id: str) -> Any:
    return FlaskJob.fetch(job_id, broker.redis, JSONSerializer)


def test_job_of_a_killed_worker_is_retried_immediately(broker: Any, read_logs: Logged) -> None:
    with broker.flask.app_context():
        job_id = always_fail.delay().id
    job = fetch(broker, job_id)
    handle_abandoned(job)
    assert job.get_retry_interval() == 0
    job.retries_left = 0
    handle_abandoned(job)
    Worker([], connection=broker.redis).handle_work_horse_killed(job, 1, 2, None)
    retried, failed, killed = read_logs()
    assert retried["event"] == "job retried"
    assert failed["event"] == killed["event"] == "job failed"
    assert fetch(broker, job_id).meta["error"] == "WorkerDiedError"


def test_dequeued_job_is_recorded_until_it_runs(broker: Any) -> None:
    with broker.flask.app_context():
        job_id = divide.delay().id
    queue = broker.queues["high"]
    keys = [queue.key, broker.queues["low"].key]
    assert queue.lpop(keys, 1, connection=broker.redis) == [queue.key.encode(), job_id.encode()]
    assert queue.intermediate_queue.get_job_ids() == [job_id]
    assert queue.lpop(keys, None, connection=broker.redis) is None
    with pytest.raises(DequeueTimeout):
        queue.lpop(keys, 0.01, connection=broker.redis)


@pytest.mark.parametrize("burst", [False, True])
def test_worker_that_loses_its_connection_fails(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    burst: bool,
) -> None:
    monkeypatch.setattr("rq.Worker.work", lambda *_, **__: True)
    worker = Worker([], connection=broker.redis)
    if burst:
        assert worker.work(burst=True)
    else:
        with pytest.raises(SystemExit, match="lost its connection"):
            worker.work()


def test_worker_sends_heartbeats(broker: Any) -> None:
    run = broker.flask.test_cli_runner().invoke
    assert run(args=["worker-health"]).exit_code == 1
    worker = Worker([*broker.queues.values()], connection=broker.redis)
    worker.register_birth()  # type: ignore[no-untyped-call]
    assert run(args=["worker-health"]).exit_code == 0
    with broker.flask.app_context():
        job = fetch(broker, always_fail.delay().id)
    execution = worker.prepare_execution(job)
    worker.maintain_heartbeats(job, execution)
    seconds = broker.redis.ttl(execution.key)
    assert worker.job_monitoring_interval / 2 < seconds <= rq_worker.HEARTBEAT_TIMEOUT
    worker.register_death()  # type: ignore[no-untyped-call]


def test_busy_worker_sends_heartbeats_once_a_second(
    broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker([*broker.queues.values()], connection=broker.redis)
    worker.register_birth()  # type: ignore[no-untyped-call]
    first = worker.last_heartbeat
    worker.heartbeat()
    assert worker.last_heartbeat == first
    monkeypatch.setattr(rq_worker, "MIN_HEARTBEAT_INTERVAL", timedelta())
    worker.heartbeat()
    assert worker.last_heartbeat != first
    worker.register_death()  # type: ignore[no-untyped-call]


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Replace RQ's fork, and the connection to the process."""

    def set_pid(worker: Worker, *_: Any) -> None:
        worker._horse_pid = 7

    fork = Mock(side_effect=set_pid)
    monkeypatch.setattr(RQWorker, "fork_work_horse", lambda *args: fork(*args))
    monkeypatch.setattr(rq_worker, "WorkHorse", create_autospec(WorkHorse))
    return fork


def test_worker_forks_if_the_work_horse_has_ended(
    broker: Any, fork: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker([*broker.queues.values()], connection=broker.redis)
    assert worker.horse_pid == 0
    with broker.flask.app_context():
        job = fetch(broker, divide.delay().id)
    execution = worker.prepare_execution(job)
    worker.fork_work_horse(job, broker.queues["high"])
    horse: Any = worker.work_horse
    horse.started.assert_called_once_with(7)
    horse.pid = 7
    for has_ended in (False, True):
        horse.send.return_value = not has_ended
        worker.fork_work_horse(job, broker.queues["high"])
        horse.send.assert_called_with(execution.composite_key)
        assert fork.call_count == 1 + has_ended
    horse.wait.return_value = 0
    assert worker.wait_for_horse() == (7, 0, None)
    horse.wait.return_value = None
    monkeypatch.setattr(RQWorker, "wait_for_horse", lambda _: (7, 9, None))
    assert worker.wait_for_horse() == (7, 9, None)
    monkeypatch.setattr(RQWorker, "teardown", Mock())
    worker.teardown()
    horse.stop.assert_called_once_with()


@pytest.mark.parametrize("end", ["stopped", "limit", "failure"])
def test_work_horse_runs_following_jobs(
    broker: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    worker = Worker([*broker.queues.values()], connection=broker.redis)
    with broker.flask.app_context():
        jobs = [fetch(broker, divide.delay(number, 1).id) for number in range(2)]
        jobs.append(fetch(broker, stop_worker.delay().id))
    executions = [worker.prepare_execution(job) for job in jobs]
    following = [execution.composite_key for execution in executions[1:]]
    # The last job fails instead of stopping the worker.
    monkeypatch.setattr(f"{__name__}.os.kill", Mock(side_effect=ValueError))
    if end != "failure":
        following[1] = ""
    worker.executions = {executions[0].id: executions[0]}
    worker._is_horse = True
    horse: Any = create_autospec(WorkHorse, instance=True)
    horse.receive.side_effect = following
    horse.may_continue.side_effect = [True, end != "limit"]
    worker.work_horse = horse
    with broker.flask.app_context():
        succeeded = worker.perform_job(jobs[0], broker.queues["high"], executions[0])
    assert succeeded == (end != "failure")
    assert [broker.get_status(job.id).state for job in jobs] == [
        "succeeded",
        "succeeded",
        "failed" if end == "failure" else "queued",
    ]
    assert [broker.get_status(job.id).attempts for job in jobs] == [1, 1, end == "failure"]
    assert horse.receive.call_count == (1 if end == "limit" else 2)
    assert rq_worker.current_job.get() is None
    assert os.environ.pop("RQ_JOB_ID") == (jobs[2] if end == "failure" else jobs[1]).id


def test_unreachable_redis_raises_broker_unavailable(make_app: Callable[..., Flask]) -> None:
    app = make_app(BROKER_URL="redis://127.0.0.1:1/0")
    broker = app.extensions["tasks"]
    with app.app_context():
        for call in (broker.ping, tasks.queue_sizes, divide.delay, broker.failed):
            with pytest.raises(tasks.BrokerUnavailable):
                call()
    with pytest.raises(SystemExit, match="the broker does not respond"):
        rq.worker_url(broker)
    for command in ("scheduler", "worker-health"):
        result = app.test_cli_runner().invoke(args=[command])
        assert (result.exit_code, result.output[:17]) == (1, "Error: the broker")


def test_worker_needs_broker(app: Flask) -> None:
    with pytest.raises(SystemExit, match="without BROKER_URL"):
        rq.worker_url(app.extensions["tasks"])


def test_eager_statuses_are_limited(
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rq, "MAX_STATUSES", 1)
    with make_app().app_context():
        jobs: list[Job] = [always_fail.delay(), divide.delay()]
        assert [tasks.get_status(job.id) is None for job in jobs] == [True, False]


def make_scheduler(broker: Any) -> SingletonScheduler:
    """Create a scheduler that sends `divide` at a quarter past three."""
    scheduler = SingletonScheduler(broker, broker.redis)
    scheduler.register(divide, "high", cron="15 3 * * *")
    return scheduler


def make_due(broker: Any) -> SingletonScheduler:
    """Create a scheduler for which `divide` is due."""
    scheduler = make_scheduler(broker)
    (job,) = scheduler.get_jobs()
    job.next_enqueue_time = datetime.now(UTC).replace(hour=3, minute=15) - timedelta(days=1)
    return scheduler


def test_two_schedulers_send_a_job_once(broker: Any, read_logs: Logged) -> None:
    assert [len(make_due(broker).enqueue_jobs()) for _ in range(2)] == [1, 1]
    assert broker.queue_sizes()["high"] == 1
    (line,) = [line for line in read_logs() if line["event"] == "scheduled job was sent"]
    assert broker.get_status(line["job_id"]).state == "queued"


def test_scheduler_follows_a_clock_that_is_set_back(
    broker: Any,
    read_logs: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = make_scheduler(broker)
    assert scheduler.calculate_sleep_interval() <= SCHEDULER_INTERVAL
    today = datetime.now(UTC).replace(hour=3, minute=14)
    scheduler.last_tick = today + timedelta(hours=1)
    for clock in (today, today + timedelta(minutes=2)):
        for module in ("rq.cron", rq_scheduler.__name__):
            monkeypatch.setattr(f"{module}.now", lambda clock=clock: clock)
        scheduler.enqueue_jobs()
    sent = [line for line in read_logs() if line["event"] == "scheduled job was sent"]
    assert len(sent) == 1


def test_failure_does_not_end_the_scheduler(
    broker: Any,
    read_logs: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = make_due(broker)
    monkeypatch.setattr(broker, "send", Mock(side_effect=tasks.BrokerUnavailable))
    assert scheduler.enqueue_jobs()
    assert read_logs()[-1]["event"] == "scheduled job was not sent"


def test_schedule_is_in_utc(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = create_autospec(CronScheduler.start)
    monkeypatch.setattr(CronScheduler, "start", start)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        assert broker.flask.test_cli_runner().invoke(args=["scheduler"]).exit_code == 0
        start.assert_called_once()
        (job,) = make_scheduler(broker).get_jobs()
        assert f"{job.next_enqueue_time:%H:%M}" == "03:15"
    time.tzset()


def test_worker_uses_the_urls_tls_settings(make_app: Callable[..., Flask]) -> None:
    settings = make_app(BROKER_URL="rediss://host").extensions["tasks"].settings
    assert rq.redis_url(settings) == "rediss://host/0?ssl_cert_reqs=required"
    assert Redis.from_url(rq.redis_url(settings)).connection_pool
