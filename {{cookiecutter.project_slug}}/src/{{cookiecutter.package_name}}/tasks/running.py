"""How workers run a job, whatever brings it to them."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

import structlog
from flask import Flask
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.exceptions import ServiceUnavailable

from .. import logs
from .jobs import Call, JobError, JobStatus, Progress, progress, through_json

log = structlog.get_logger()


class Unavailable(ServiceUnavailable):
    """503: nobody takes jobs at the moment."""

    def __init__(self) -> None:
        super().__init__("Jobs are not taken at the moment.", retry_after=5)


class Broker(Protocol):
    """Who keeps jobs until they are done, and the statuses of those that are."""

    def check(self) -> None:
        """Raise `Unavailable` when no job would be taken now."""

    def send(self, call: Call) -> object:
        """Have a worker do it, or raise `Unavailable`."""

    def find(self, job_id: str) -> JobStatus | None:
        """Tell how far a job is; None if it is not known, or no longer."""

    def count(self) -> dict[str, int]:
        """Count the jobs that wait in each queue, and those that failed."""

    def failed(self) -> list[JobStatus]:
        """List the jobs that failed for good, and are kept."""

    def retry(self, job_id: str) -> bool:
        """Send a job that failed once more; False if there is none."""

    def work(self) -> None:
        """Be a worker until the process is told to end."""

    def schedule(self) -> None:
        """Send the jobs that have a `cron` when they are due, until the process is told to end."""

    def is_worker_alive(self) -> bool:
        """Tell whether a worker of this host answers."""


def perform(
    app: Flask,
    call: Call,
    attempt: int,
    tell: Progress,
    function: Callable[..., Any],
) -> Any:
    """Do a job in a context, and so a session, of its own; it is one line in the log."""
    bind(call, attempt)
    figures: dict[str, float] = {}
    logs.figures.set(figures)
    progress.set(tell)
    started = perf_counter()
    outcome = "raised"
    try:
        with app.app_context():
            result = through_json(function(*call.args, **call.kwargs))
        outcome = "returned"
    finally:
        duration_ms = round((perf_counter() - started) * 1000, 2)
        log.info("job", outcome=outcome, duration_ms=duration_ms, **figures)
    return result


def bind(call: Call, attempt: int) -> None:
    """Have all log lines from here on name the job, who asked for it, and why."""
    clear_contextvars()
    bind_contextvars(
        request_id=call.request_id,
        job=call.name,
        job_id=call.id,
        reason=call.reason,
        attempt=attempt,
    )


def explain(error: BaseException) -> str:
    """Say why a job failed without giving away what an unexpected error holds."""
    return str(error) if isinstance(error, JobError) else type(error).__name__
