"""Execution of a job in a worker: application context, log lines, errors."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import structlog
from flask import Flask, has_request_context, request
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from .. import logs
# {% if cookiecutter.__auth %}
from ..auth.identity import get_actor
# {% endif %}
# {% if cookiecutter.__monitoring %}
from ..monitoring import task_ended, task_finished, task_started
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from ..monitoring.otlp.jobs import continue_trace, trace_job
# {% endif %}
from .jobs import BrokerUnavailable, Errors, JobError

log = structlog.get_logger()


@contextmanager
def broker_errors(errors: Errors) -> Iterator[None]:
    """Raise `BrokerUnavailable` for one of these errors; in a request log the cause."""
    try:
        yield
    except errors as error:
        if has_request_context():
            # Some libraries wrap the original error.
            cause = error.__cause__ or error
            log.warning("broker unavailable", error=f"{type(cause).__name__}: {cause}"[:300])
        raise BrokerUnavailable from error


@contextmanager
def exit_if_unavailable() -> Iterator[None]:
    """End a command with one line if the broker does not respond."""
    try:
        yield
    except BrokerUnavailable as error:
        reason = f" ({error.__cause__})" if error.__cause__ else ""
        message = f"Error: the broker does not respond: see BROKER_URL{reason}"
        raise SystemExit(message) from error


def sender_context() -> dict[str, str]:
    """Return the request ID, the reason and the like, which the log lines of the job contain."""
    known = get_contextvars()
    path = f"{request.method} {request.path}"[:200] if has_request_context() else ""
    return {
        "request_id": known.get("request_id", ""),
        "reason": known.get("reason") or path,
        # {% if cookiecutter.__auth %}
        "actor": get_actor() or "",
        # {% endif %}
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        # `sending_job` sets it.
        "traceparent": "",
        # {% endif %}
    }


def bind_log_context(job: str, job_id: str, attempt: int, sender: Mapping[str, str]) -> None:
    """Add the job and its sender to all following log lines."""
    clear_contextvars()
    bind_contextvars(
        request_id=sender.get("request_id", ""),
        job=job,
        job_id=job_id,
        reason=sender.get("reason", ""),
        # {% if cookiecutter.__auth %}
        actor=sender.get("actor", ""),
        # {% endif %}
        attempt=attempt,
    )
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    continue_trace(sender)
    # {% endif %}


# {% if cookiecutter.monitoring == "opentelemetry" %}
@trace_job
# {% endif %}
def execute(app: Flask, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the function of a job in an application context of its own and log its duration."""
    metrics: dict[str, float] = {}
    logs.request_metrics.set(metrics)
    started = perf_counter()
    outcome = "failed"
    # {% if cookiecutter.__monitoring %}
    name = get_contextvars().get("job", "")
    task_started(name)
    # {% endif %}
    try:
        with app.app_context():
            result = json_roundtrip(function(*args, **kwargs))
        outcome = "succeeded"
    finally:
        seconds = perf_counter() - started
        log.info("job finished", outcome=outcome, duration_ms=round(seconds * 1000, 2), **metrics)
        # {% if cookiecutter.__monitoring %}
        task_ended(name, seconds, metrics)
    task_finished(name, outcome)
    # {% endif %}
    return result


def json_roundtrip(value: Any) -> Any:
    """Return the value as the receiver decodes it; raise `TypeError` if JSON cannot encode it."""
    return json.loads(json.dumps(value, allow_nan=False))


def log_job_retry(error: BaseException) -> None:
    """Log why there will be another attempt."""
    log.warning("job retried", error=repr(error))
    # {% if cookiecutter.__monitoring %}
    task_finished(get_contextvars().get("job", ""), "retried")
    # {% endif %}


def log_job_failure(error: BaseException) -> None:
    """Log a final failure: a `JobError` as a warning, any other error with its traceback."""
    if isinstance(error, JobError):
        log.warning("job failed", error=str(error))
    else:
        log.error("job failed", exc_info=error)
    # {% if cookiecutter.__monitoring %}
    task_finished(get_contextvars().get("job", ""), "failed")
    # {% endif %}


def public_error(error: BaseException) -> str:
    """Return the message of a `JobError`; of other errors only the type, which has no secrets."""
    return str(error) if isinstance(error, JobError) else type(error).__name__
