"""Spans and metrics of background jobs: each attempt continues the trace of its sender."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import wraps
# {% if cookiecutter.__rq_telemetry %}
from tempfile import TemporaryFile
# {% endif %}
from typing import Any

# {% if cookiecutter.__celery %}
from celery.signals import worker_process_init, worker_process_shutdown
# {% endif %}
from flask import Flask
from opentelemetry.context import attach
from opentelemetry.metrics import Observation
from opentelemetry.trace import SpanKind, get_current_span
from structlog.contextvars import get_contextvars

# {% if cookiecutter.__rq_telemetry %}
from . import instruments
# {% endif %}
from .instruments import Counter, Histogram
# {% if cookiecutter.__cache %}
from .requests import count_cache_operations
# {% endif %}
from .tracing import NO_PARENT, propagator, running, tracing

# {% if cookiecutter.task_queue == "celery-rabbitmq" %}
SYSTEM = "rabbitmq"
# {% else %}
SYSTEM = "redis"
# {% endif %}
ATTRIBUTES = ["messaging.system", "messaging.operation.name", "task.name"]
SENT = Counter("messaging.client.sent.messages", "Jobs that were sent.", ATTRIBUTES, "{message}")
STARTED = Counter(
    "messaging.client.consumed.messages", "Attempts of jobs that began.", ATTRIBUTES, "{message}"
)
DURATION = Histogram(
    "messaging.process.duration",
    "Duration of attempts of jobs.",
    ATTRIBUTES,
    (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
FINISHED = Counter(
    "task.attempts", "Attempts of jobs that ended.", ["task.name", "task.outcome"], "{attempt}"
)
SCHEDULER = Counter("task.scheduler.checks", "Checks of the schedule.", [], "{check}")
FAILED_CALLS = Counter("task.broker.errors", "Failed calls of the broker.", [], "{call}")
# {% if cookiecutter.__rq_telemetry %}
# Seconds that a work horse takes for its last exports. After a failed job the next one waits.
JOB_TIMEOUT = 0.5
# {% endif %}


def serve_process(app: Flask, process: str) -> None:
    """Export the metrics of a worker, which forks the processes of jobs, or of a scheduler.

    Only schedulers export those of queues: they are the same in all processes.
    """
    if not tracing.sdk or app.testing:
        return
    meter = tracing.sdk.start_metrics(is_forked=process == "worker")
    if process != "scheduler":
        return

    def measure(_: Any) -> list[Observation]:
        try:
            with app.app_context():
                sizes = app.extensions["tasks"].queue_sizes()
        except Exception:  # Without a broker there is no value.
            return []
        name = "messaging.destination.name"
        return [Observation(size, {name: queue}) for queue, size in sizes.items()]

    meter.create_observable_up_down_counter(
        "task.queue.length", [measure], "{message}", "Waiting jobs; `failed` are failed ones."
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
# {% if cookiecutter.__rq_telemetry %}
class JobMetrics:
    """The metrics of a work horse. It may end with each job, so the worker exports them."""

    def __init__(self) -> None:
        self.file = TemporaryFile("w+")  # noqa: SIM115 - work horses inherit it

    def write(self) -> None:
        """Write the metrics of a job, in the work horse."""
        self.file.seek(0)
        self.file.write(instruments.dump())
        self.file.flush()

    def read(self) -> None:
        """Add the metrics of a job, in the worker; a work horse that was killed wrote none."""
        self.file.seek(0)
        if values := self.file.read():
            self.file.seek(0)
            self.file.truncate()
            instruments.add(values)


@contextmanager
def last_exports() -> Iterator[None]:
    """Export spans and log lines at the end of a work horse, which calls no `atexit` functions."""
    try:
        yield
    finally:
        if tracing.sdk:
            tracing.sdk.stop(JOB_TIMEOUT)


# {% endif %}
@contextmanager
def sending_job(name: str, job_id: str, headers: MutableMapping[str, Any]) -> Iterator[None]:
    """Record that a job is sent, and add the header of the trace."""
    span = tracing.start_child(f"send {name}", SpanKind.PRODUCER)
    span.set_attribute("messaging.system", SYSTEM)
    span.set_attribute("messaging.operation.name", "send")
    span.set_attribute("messaging.operation.type", "send")
    span.set_attribute("messaging.message.id", job_id)
    span.set_attribute("task.name", name)
    with running(span):
        propagator.inject(headers)
        yield
    SENT.record(1, SYSTEM, "send", name)


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
        span.set_attribute("messaging.system", SYSTEM)
        span.set_attribute("messaging.operation.name", "process")
        span.set_attribute("messaging.operation.type", "process")
        span.set_attribute("messaging.message.id", job["job_id"])
        span.set_attribute("task.name", job["job"])
        span.set_attribute("task.attempt", job["attempt"])
        if sender.is_valid:
            span.add_link(sender)
        with running(span):
            return execute(*args, **kwargs)

    return traced


def task_started(name: str) -> None:
    """Count an attempt that starts."""
    STARTED.record(1, SYSTEM, "process", name)


def task_ended(name: str, seconds: float, metrics: Mapping[str, float]) -> None:
    """Record the duration of an attempt; `metrics` are those of its log line."""
    DURATION.record(seconds, SYSTEM, "process", name)
    # {% if cookiecutter.__cache %}
    count_cache_operations(metrics)
    # {% endif %}


def task_finished(name: str, outcome: str) -> None:
    """Count an attempt that succeeded, failed for good or will be retried."""
    FINISHED.record(1, name, outcome)


def scheduler_ran() -> None:
    """Record that a scheduler is running."""
    SCHEDULER.record(1)


def broker_called(*, failed: bool) -> None:
    """Count a failed call."""
    FAILED_CALLS.record(failed)
