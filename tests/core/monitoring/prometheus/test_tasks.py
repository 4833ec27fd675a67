from collections.abc import Callable

import pytest
from flask import Flask
from prometheus_client import REGISTRY, generate_latest

from {{ cookiecutter.package_name }}.core.monitoring import (
    broker_called,
    scheduler_ran,
)
from {{ cookiecutter.package_name }}.core.monitoring.prometheus import (
    exporter,
    tasks,
)
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.shared_files import (
    SharedValues,
)
from {{ cookiecutter.package_name }}.core.tasks.circuit_breaker import (
    CircuitBreaker,
)
from {{ cookiecutter.package_name }}.core.tasks.execution import (
    bind_log_context,
    execute,
    log_job_failure,
    log_job_retry,
)
from {{ cookiecutter.package_name }}.core.tasks.jobs import BrokerUnavailable


def value(name: str, **labels: str) -> float:
    """Return the value of a metric in this process."""
    return REGISTRY.get_sample_value(name, labels) or 0


def test_attempts_are_counted_by_outcome(app: Flask) -> None:
    bind_log_context("probe", "1", 1, {})
    execute(app, lambda: None)
    with pytest.raises(ZeroDivisionError) as caught:
        execute(app, lambda: 1 / 0)
    log_job_retry(caught.value)
    log_job_failure(caught.value)
    assert value("tasks_started_total", task="probe") == 2
    assert value("task_duration_seconds_count", task="probe") == 2
    for outcome in ("succeeded", "retried", "failed"):
        assert value("tasks_finished_total", task="probe", outcome=outcome) == 1


def test_circuit_breaker_of_the_broker_is_a_metric() -> None:
    def fail() -> None:
        raise BrokerUnavailable

    circuit = CircuitBreaker()
    with pytest.raises(BrokerUnavailable):
        circuit.call(fail)
    assert value("task_broker_circuit_open") == 1
    circuit.call(lambda: None)
    assert value("task_broker_circuit_open") == 0
    broker_called(failed=False)


def test_scheduler_records_its_last_run() -> None:
    scheduler_ran()
    assert value("task_scheduler_last_run_timestamp_seconds") > 0


class Broker:
    """A broker with one job that has waited for 5 s, or none that responds."""

    is_up = True

    def queue_sizes(self) -> dict[str, int]:
        if not self.is_up:
            raise BrokerUnavailable
        return {"high": 1, "failed": 2}

    def queue_ages(self) -> dict[str, float]:
        return {"high": 5.0}


def test_worker_serves_metrics_and_queues(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = []
    monkeypatch.setattr(exporter, "serve", lambda *arguments: endpoints.append(arguments))
    monkeypatch.setattr(SharedValues, "start", lambda *_: False)
    app = make_app()
    broker = Broker()
    app.extensions["tasks"] = broker
    tasks.serve_process(app, "worker")
    assert not endpoints
    app.testing = False
    tasks.serve_process(app, "worker")
    ((bind, endpoint),) = endpoints
    assert bind == "127.0.0.1:9464"
    text = endpoint.render()
    assert b'task_queue_length{queue="high"} 1.0' in text
    assert b'task_dead_letters{queue="failed"} 2.0' in text
    assert b'task_queue_oldest_age_seconds{queue="high"} 5.0' in text
    assert b"task_broker_up 1.0" in text
    broker.is_up = False
    text = generate_latest(tasks.QueueCollector(app))
    assert b"task_broker_up 0.0" in text
    assert b"task_queue_length" not in text
