"""A job: a function that a worker runs later, somewhere else, and again if it has to."""

import json
import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import update_wrapper
from typing import Annotated, Any, Literal

from flask import current_app, has_request_context, request
from msgspec import Meta, Struct
from structlog.contextvars import get_contextvars

HIGH, DEFAULT, LOW = "high", "default", "low"
# In the order in which workers serve them.
QUEUES = (HIGH, DEFAULT, LOW)

Errors = tuple[type[Exception], ...]
Progress = Callable[[int, int | None], None]

# Why a user wants a job: it is in all of the job's log lines, so it has no line breaks.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*(?![\s\S])"
Reason = Annotated[str, Meta(max_length=200, pattern=PRINTABLE)]


class JobError(Exception):
    """Why a job failed, in words that the client who asked for it may read."""


class JobStatus(Struct, kw_only=True):
    """How far a job is; `attempts` counts how often it was begun."""

    id: str
    name: str
    state: Literal["queued", "running", "retrying", "succeeded", "failed"] = "queued"
    attempts: int = 0
    done: int = 0
    total: int | None = None
    result: Any = None
    error: str | None = None


class Call(Struct, kw_only=True):
    """A job to do: what is sent to a worker."""

    id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    request_id: str
    reason: str


@dataclass(eq=False, kw_only=True)
class Job:
    """A function, and how it is to be run; called, it runs here and now."""

    function: Callable[..., Any]
    queue: str
    attempts: int
    transient: Errors
    time_limit: float | None
    cron: str | None

    def __post_init__(self) -> None:
        """Look like the function."""
        update_wrapper(self, self.function)
        self.name = self.function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def enqueue(self, *args: Any, reason: str = "", **kwargs: Any) -> str:
        """Have a worker run it after the commit, if a transaction is open; return the job's id."""
        call = self.prepare(*args, **kwargs)
        call.reason = reason or get_contextvars().get("reason") or describe_request()
        tasks = current_app.extensions["tasks"]
        tasks.deliver(tasks.broker.check, lambda: tasks.broker.send(call))
        return call.id

    def prepare(self, *args: Any, **kwargs: Any) -> Call:
        """Make what is sent to a worker."""
        return Call(
            id=os.urandom(16).hex(),
            name=self.name,
            args=through_json(args),
            kwargs=through_json(kwargs),
            request_id=get_contextvars().get("request_id", ""),
            reason="",
        )

    def limit(self, longest: float) -> float:
        """Return the seconds that it may take; no job may take longer than `longest`."""
        return min(self.time_limit or longest, longest)


JOBS: dict[str, Job] = {}
progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


def job(
    *,
    queue: str = DEFAULT,
    attempts: int = 5,
    transient: Errors = (),
    time_limit: float | None = None,
    cron: str | None = None,
) -> Callable[[Callable[..., Any]], Job]:
    """Make a function a job.

    It is tried so many times when it raises a `transient` error, to which lost connections and
    timeouts always belong; any other error is final. `time_limit` is in seconds. `cron` has the
    scheduler enqueue it by itself, in UTC.
    """

    def decorate(function: Callable[..., Any]) -> Job:
        made = Job(
            function=function,
            queue=queue,
            attempts=attempts,
            transient=transient,
            time_limit=time_limit,
            cron=cron,
        )
        # By its name a message finds its job.
        if known := JOBS.get(made.name):
            modules = f"{known.__module__} and {made.__module__}"
            raise ValueError(f"two jobs have the name {made.name}, in {modules}")
        JOBS[made.name] = made
        return made

    return decorate


def find(job_id: str) -> JobStatus | None:
    """Tell how far a job is; None if it is not known, or no longer."""
    found: JobStatus | None = current_app.extensions["tasks"].broker.find(job_id)
    return found


def report(done: int, total: int | None = None) -> None:
    """Tell those who wait for this job how far it is; outside of a job nothing happens."""
    if tell := progress.get():
        tell(done, total)


def through_json(value: Any) -> Any:
    """Give back what a receiver of JSON sees; a value that JSON does not know is a `TypeError`."""
    return json.loads(json.dumps(value, allow_nan=False))


def describe_request() -> str:
    """Name the request as the reason of what it asks for."""
    return f"{request.method} {request.path}"[:200] if has_request_context() else ""
