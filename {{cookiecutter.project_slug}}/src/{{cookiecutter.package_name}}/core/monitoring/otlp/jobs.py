"""Spans and metrics of background jobs: each attempt continues the trace of its sender."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import wraps
from time import perf_counter
from typing import Any

# {% if cookiecutter.__celery %}
from celery.signals import worker_process_init, worker_process_shutdown
# {% endif %}
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, get_current_span
from structlog.contextvars import get_contextvars

from .instruments import Histogram
from .tracing import NO_PARENT, propagator, running, tracing

JOBS = Histogram(
    "task.duration",
    "Duration of attempts of jobs.",
    ["task.name", "task.outcome"],
    (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
)


# {% if cookiecutter.__celery %}
@worker_process_init.connect
def start_process(**_: Any) -> None:
    """Export the metrics of this process of the pool."""
    if tracing.sdk:
        tracing.sdk.start_metrics()


@worker_process_shutdown.connect
def stop_process(**_: Any) -> None:
    """Export what waits: this process calls no `atexit` functions."""
    if tracing.sdk:
        tracing.sdk.stop()


# {% endif %}
@contextmanager
def sending_job(name: str, job_id: str, headers: MutableMapping[str, Any]) -> Iterator[None]:
    """Record that a job is sent, and add the header of the trace."""
    span = tracing.start_child(f"send {name}", SpanKind.PRODUCER)
    span.set_attribute("messaging.operation.type", "send")
    span.set_attribute("messaging.message.id", job_id)
    span.set_attribute("task.name", name)
    with running(span):
        propagator.inject(headers)
        yield


def continue_trace(headers: Mapping[str, Any]) -> None:
    """Let the following log lines and spans belong to the trace of the sender."""
    attach(propagator.extract(headers, NO_PARENT))


def trace_job(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Record the calls of a function that executes the job which the log context names."""

    @wraps(execute)
    def traced(*args: Any, **kwargs: Any) -> Any:
        job = get_contextvars()
        sender = get_current_span().get_span_context()
        span = tracing.start_span(SpanKind.CONSUMER, sender)
        span.update_name(f"process {job['job']}")
        span.set_attribute("messaging.operation.type", "process")
        span.set_attribute("messaging.message.id", job["job_id"])
        span.set_attribute("task.name", job["job"])
        span.set_attribute("task.attempt", job["attempt"])
        if sender.is_valid:
            span.add_link(sender)
        started, outcome = perf_counter(), "failed"
        try:
            with running(span):
                result = execute(*args, **kwargs)
            outcome = "succeeded"
        finally:
            JOBS.record(perf_counter() - started, job["job"], outcome)
        return result

    return traced
