"""Spans of background jobs, which run in the process that sends them."""

from collections.abc import Callable
from typing import Any

# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Flask
from opentelemetry.trace import SpanKind

# {% if cookiecutter.task_queue == "rq-redis" %}
from {{ cookiecutter.package_name }}.core import tasks

# {% endif %}
from .conftest import Spans

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
