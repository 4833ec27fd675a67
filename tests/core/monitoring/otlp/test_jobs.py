"""Spans of background jobs, which run in the process that sends them."""

# {% if cookiecutter.__rq_telemetry %}
import os
# {% endif %}
from collections.abc import Callable
from typing import Any
# {% if cookiecutter.__rq_telemetry %}
from unittest.mock import Mock
# {% endif %}

import pytest
# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Flask
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind

# {% if cookiecutter.task_queue == "rq-redis" %}
from {{ cookiecutter.package_name }}.core import tasks
# {% endif %}
from {{ cookiecutter.package_name }}.core.monitoring.otlp import (
    instruments,
    jobs,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.jobs import (
    SYSTEM,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

from .conftest import Spans

NAME = f"{__name__}.divide"
Logs = Callable[[], list[dict[str, Any]]]


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@tasks.job()
# {% endif %}
def divide(number: int) -> float:
    return 1 / number


def send_from_view(app: Flask, number: int) -> None:
    def send() -> str:
        divide.delay(number)
        return ""

    vars(send)["access_rule"] = None
    app.add_url_rule("/send", "send", send)
    assert app.test_client().get("/send").status_code == 200


def test_attempt_continues_the_trace_of_its_sender(
    make_traced_app: Callable[..., Flask], spans: Spans, read_logs: Logs
) -> None:
    send_from_view(make_traced_app(), 2)
    name = f"{__name__}.divide"
    request, sent = spans.named("GET /send"), spans.named(f"send {name}")
    attempt = spans.named(f"process {name}")
    assert (sent.kind, attempt.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert sent.parent == request.context
    assert attempt.parent
    assert sent.context
    assert attempt.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in attempt.links] == [sent.context.span_id]
    attributes = dict(attempt.attributes or {})
    assert attributes.pop("messaging.message.id") == dict(sent.attributes or {}).get(
        "messaging.message.id"
    )
    assert attributes == {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "task.name": name,
        "task.attempt": 1,
    }
    (line,) = [line for line in read_logs() if line["event"] == "job finished"]
    assert attempt.context
    assert line["trace_id"] == f"{sent.context.trace_id:032x}"
    assert line["span_id"] == f"{attempt.context.span_id:016x}"


def test_failed_attempt_has_the_type_of_its_error(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    send_from_view(make_traced_app(), 0)
    attempt = spans.named(f"process {__name__}.divide")
    assert dict(attempt.attributes or {})["error.type"] == "ZeroDivisionError"


def test_job_without_a_sender_starts_a_trace(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    with make_traced_app().app_context():
        divide.delay(2)
    assert [span.parent for span in spans.ended] == [None]


def test_unsampled_sender_has_no_spans(
    make_traced_app: Callable[..., Flask], spans: Spans, read_logs: Logs
) -> None:
    send_from_view(make_traced_app(OTEL_TRACES_SAMPLER="parentbased_always_off"), 2)
    assert not spans.ended
    assert len({line["trace_id"] for line in read_logs() if "trace_id" in line}) == 1


@pytest.fixture(autouse=True)
def _no_values() -> None:
    for instrument in instruments.instruments:
        instrument.reset()


# {% if cookiecutter.__rq_telemetry %}
def test_worker_gets_the_metrics_of_each_job() -> None:
    jobs.task_finished("a", "retried")
    metrics = jobs.JobMetrics()
    with metrics.file:
        for outcome in ("succeeded", "failed"):
            if not (pid := os.fork()):
                jobs.task_finished("a", outcome)
                metrics.write()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            metrics.read()
        # A work horse that was killed has written nothing.
        metrics.read()
    assert jobs.FINISHED.read(is_delta=False)[1] == {
        ("a", outcome): [1, 1] for outcome in ("retried", "succeeded", "failed")
    }


def test_work_horse_exports_its_last_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = Mock()
    monkeypatch.setattr(tracing, "sdk", sdk)
    with jobs.last_exports():
        sdk.stop.assert_not_called()
    sdk.stop.assert_called_once_with(jobs.JOB_TIMEOUT)


# {% endif %}
@pytest.mark.parametrize(("number", "outcome"), [(2, "succeeded"), (0, "failed")])
def test_metrics_of_jobs_are_those_of_the_conventions(
    make_traced_app: Callable[..., Flask], number: int, outcome: str
) -> None:
    send_from_view(make_traced_app(), number)
    assert {
        instrument.name: instrument.read(is_delta=False)[1]
        for instrument in (jobs.SENT, jobs.STARTED, jobs.FINISHED, jobs.SCHEDULER)
    } == {
        "messaging.client.sent.messages": {(SYSTEM, "send", NAME): [1, 1]},
        "messaging.client.consumed.messages": {(SYSTEM, "process", NAME): [1, 1]},
        "task.attempts": {(NAME, outcome): [1, 1]},
        "task.scheduler.checks": {},
    }
    ((attributes, numbers),) = jobs.DURATION.read(is_delta=False)[1].items()
    assert jobs.DURATION.name == "messaging.process.duration"
    assert attributes == (SYSTEM, "process", NAME)
    assert sum(numbers[:-1]) == 1


@pytest.mark.parametrize("process", ["scheduler", "worker"])
def test_scheduler_alone_exports_the_length_of_each_queue(
    make_traced_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    app = make_traced_app()
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(tracing.sdk, "start_metrics", lambda **_: provider.get_meter("test"))
    sizes = {"default": 3, "failed": 1}
    monkeypatch.setattr(app.extensions["tasks"], "queue_sizes", lambda: sizes)
    app.testing = False
    jobs.serve_process(app, process)
    data: Any = reader.get_metrics_data()
    points = {
        point.attributes["messaging.destination.name"]: point.value
        for one in (data.resource_metrics if data else [])
        for metric in one.scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    assert points == (sizes if process == "scheduler" else {})
    monkeypatch.setattr(app.extensions["tasks"], "queue_sizes", lambda: 1 / 0)
    assert reader.get_metrics_data() is None
