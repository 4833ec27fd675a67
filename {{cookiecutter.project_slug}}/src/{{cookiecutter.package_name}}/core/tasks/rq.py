"""RQ: the `@job` decorator, and the broker on Redis, which stores jobs, results and failed jobs."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from functools import cached_property
from math import ceil
from secrets import randbelow
from typing import Any, ParamSpec, Protocol, TypeVar, cast
from uuid import uuid4

from flask import Flask, current_app
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Queue, Retry
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
# {% if cookiecutter.__metrics %}
from rq.utils import now
# {% endif %}

from ...config import Settings, get_settings, register_client, take_client
# {% if cookiecutter.monitoring == "opentelemetry" %}
from ..monitoring.otlp.jobs import sending_job
# {% endif %}
from ..service_urls import normalize_redis_url
from .circuit_breaker import CircuitBreaker
from .execution import (
    broker_errors,
    exit_if_unavailable,
    json_roundtrip,
    log_job_failure,
    public_error,
    sender_context,
)
from .jobs import DEFAULT, EAGER_SCHEME, FAILED, QUEUES, Errors, JobStatus
from .on_commit import send_on_commit
from .rq_worker import FlaskJob, JobOptions, LeasedQueue, current_job, get_options

STATES: dict[str, Any] = {
    "created": "queued",
    "queued": "queued",
    "deferred": "queued",
    "started": "running",
    "scheduled": "retrying",
    "finished": "succeeded",
    "failed": "failed",
    "stopped": "failed",
    "canceled": "failed",
}

URL_FORM = "redis://user:password@host:port/0 or, with TLS, rediss://…"

# Failed jobs are stored for a year.
FAILURE_TTL = 365 * 24 * 3600

# Number of statuses that a process without BROKER_URL stores.
MAX_STATUSES = 1000

P = ParamSpec("P")
R = TypeVar("R")


class JobFunction(Protocol[P, R]):
    """Function with `delay`. To call it runs it here, without a worker."""

    options: JobOptions
    delay: Callable[P, Job]
    __name__: str
    __call__: Callable[P, R]


def job(
    queue: str = DEFAULT,
    *,
    timeout: float | None = None,
    max_attempts: int = 5,
    retry_on: Errors = (),
) -> Callable[[Callable[P, R]], JobFunction[P, R]]:
    """Add `delay` to a function, as RQ's decorator of the same name does.

    `delay(…)` sends the job after the commit; without a transaction, immediately. It returns RQ's
    `Job`. A job is retried if it raises one of the errors in `retry_on`, a lost connection or a
    timeout. `timeout` is in seconds and at most JOB_TIME_LIMIT.
    """
    options = JobOptions(queue=queue, timeout=timeout, max_attempts=max_attempts, retry_on=retry_on)

    def decorate(function: Callable[P, R]) -> JobFunction[P, R]:
        decorated = cast("JobFunction[P, R]", function)

        def delay(*args: P.args, **kwargs: P.kwargs) -> Job:
            broker = get_broker()
            made = broker.create_job(decorated, args, kwargs)
            send_on_commit(broker.circuit, lambda: broker.send(made), broker.ping)
            return made

        decorated.options, decorated.delay = options, delay
        return decorated

    return decorate


def report_progress(done: int, total: int | None = None) -> None:
    """Store how much of the current job is done; outside of a job this does nothing."""
    if current := current_job.get():
        current.meta.update(done=done, total=total)
        current.save_meta()  # type: ignore[no-untyped-call]


def create_client(_name: str, settings: Settings) -> Redis:
    """Create the client for BROKER_URL, which connects on first use."""
    client = Redis.from_url(
        redis_url(settings),
        socket_connect_timeout=settings.BROKER_TIMEOUT,
        socket_timeout=settings.BROKER_TIMEOUT,
        retry=RedisRetry(NoBackoff(), 1),
        # With the newer protocol a server under maintenance may lift the timeouts.
        protocol=2,
    )
    # Without a connection: an invalid option raises now and not when the first job is sent.
    client.connection_pool.make_connection()
    return client


register_client(create_client, "BROKER_URL", expected=URL_FORM, errors=(RedisError,))


class Broker:
    """Sends jobs as JSON to Redis."""

    job_class = FlaskJob

    def __init__(self, flask: Flask) -> None:
        self.flask = flask
        self.settings = get_settings(flask)
        self.circuit, self.result_circuit = CircuitBreaker(), CircuitBreaker()
        self.redis: Redis = take_client("BROKER_URL", self.settings)

    @cached_property
    def queues(self) -> dict[str, Queue]:
        """The queues by name, in the order in which workers serve them."""
        options: dict[str, Any] = {"job_class": self.job_class, "serializer": JSONSerializer}
        return {name: LeasedQueue(name, self.redis, **options) for name in QUEUES}

    def ping(self) -> None:
        """Raise `BrokerUnavailable` if Redis does not respond."""
        with redis_errors():
            self.redis.ping()

    def create_job(
        self,
        function: JobFunction[..., Any],
        args: Any = (),
        kwargs: Any = None,
        job_id: str | None = None,
    ) -> Job:
        """Create a job that is not sent yet; later changes of its arguments have no effect."""
        options = function.options
        longest = self.settings.JOB_TIME_LIMIT
        return self.queues[options.queue].create_job(
            cast("Callable[..., Any]", function),
            args=tuple(json_roundtrip(args)),
            kwargs=json_roundtrip(kwargs or {}),
            job_id=job_id or uuid4().hex,
            timeout=ceil(min(options.timeout or longest, longest)),
            result_ttl=self.settings.JOB_RESULT_TTL,
            failure_ttl=FAILURE_TTL,
            retry=self.retry_plan(options.max_attempts),
            meta={**sender_context(), "attempts": 0},
        )

    def send(self, job: Job, *, unique: bool = False) -> bool:
        """Send a job; return False if it is `unique` and its ID is known."""
        with (
            redis_errors(),
            # {% if cookiecutter.monitoring == "opentelemetry" %}
            sending_job(str(job.func_name), job.id, job.meta),
            # {% endif %}
        ):
            queue = self.queues[job.origin]
            if unique:
                try:
                    queue.enqueue_job(job, unique=True)
                except DuplicateJobError:
                    return False
            else:
                # One round trip instead of two.
                with self.redis.pipeline() as pipeline:
                    queue.enqueue_job(job, pipeline=pipeline)
                    pipeline.execute()
        return True

    def retry_plan(self, max_attempts: int) -> Retry | None:
        """Return exponential and random delays, so that failed jobs do not return together."""
        longest = round(self.settings.JOB_RETRY_BACKOFF_MAX)
        delays = [1 + randbelow(min(2**number, longest)) for number in range(1, max_attempts)]
        return Retry(max=len(delays), interval=delays) if delays else None

    def get_status(self, job_id: str) -> JobStatus | None:
        """Return the status of a job, or None if it is unknown or expired."""
        with redis_errors():
            try:
                job = FlaskJob.fetch(job_id, self.redis, serializer=JSONSerializer)
            except NoSuchJobError:
                return None
            return self.to_status(job)

    def to_status(self, job: Job) -> JobStatus:
        """Return the status of a job of RQ."""
        status = JobStatus(
            id=job.id,
            name=str(job.func_name),
            state=STATES[job.get_status(refresh=False)],
            attempts=job.meta.get("attempts", 0),
            done=job.meta.get("done", 0),
            total=job.meta.get("total"),
        )
        if status.state == "queued" and status.attempts:
            status.state = "retrying"
        if status.state == "succeeded":
            status.result = job.return_value()
        elif status.state in {"failed", "retrying"}:
            status.error = job.meta.get("error")
        return status

    def queue_sizes(self) -> dict[str, int]:
        """Return the number of jobs in each queue, and of failed jobs."""
        with redis_errors():
            waiting = {name: queue.count for name, queue in self.queues.items()}
            failed = sum(queue.failed_job_registry.count for queue in self.queues.values())
        return {**waiting, FAILED: failed}

    # {% if cookiecutter.__metrics %}
    def queue_ages(self) -> dict[str, float]:
        """Return the age of the oldest job of each queue in seconds."""
        with redis_errors():
            oldest = {name: queue.get_jobs(0, 1) for name, queue in self.queues.items()}
        return {
            name: max(0.0, (now() - jobs[0].enqueued_at).total_seconds())
            if jobs and jobs[0].enqueued_at
            else 0.0
            for name, jobs in oldest.items()
        }

    # {% endif %}
    def failed(self) -> list[JobStatus]:
        """Return the jobs that failed for good."""
        with redis_errors():
            registries = [queue.failed_job_registry for queue in self.queues.values()]
            ids = [job_id for registry in registries for job_id in registry.get_job_ids()]
            jobs = FlaskJob.fetch_many(ids, self.redis, serializer=JSONSerializer)
            return [self.to_status(job) for job in jobs if job]

    def retry(self, job_id: str) -> bool:
        """Send a failed job again, with all of its attempts; return False if there is none."""
        with redis_errors():
            for queue in self.queues.values():
                if job_id in queue.failed_job_registry:
                    job = queue.failed_job_registry.requeue(job_id)
                    plan = self.retry_plan(get_options(job).max_attempts)
                    job.retries_left = plan.max if plan else None
                    job.save()
                    return True
        return False


def get_broker() -> Broker:
    """Return the broker of the current application."""
    broker: Broker = current_app.extensions["tasks"]
    return broker


def redis_errors() -> AbstractContextManager[None]:
    """Raise `BrokerUnavailable` for an error of Redis."""
    return broker_errors((RedisError,))


def redis_url(settings: Settings) -> str:
    """Return BROKER_URL as RQ and its client read it; eager jobs need no server."""
    if is_eager(settings):
        return "redis://"
    return normalize_redis_url(settings.BROKER_URL, settings.BROKER_CA_FILE)


def is_eager(settings: Settings) -> bool:
    """Return whether jobs run in the process that sends them."""
    return settings.BROKER_URL.startswith(f"{EAGER_SCHEME}:")


def worker_url(broker: Broker) -> str:
    """Return the URL for a worker or a scheduler; end the process if Redis does not respond."""
    if is_eager(broker.settings):
        raise SystemExit("Error: without BROKER_URL jobs run in the process that sends them")
    with exit_if_unavailable():
        broker.ping()
    return redis_url(broker.settings)


class EagerJob(FlaskJob):
    """Job that runs in the process that sends it."""

    def save_meta(self) -> None:
        """Do nothing: there is no server."""


class EagerBroker(Broker):
    """Runs each job once, when it is sent, and stores its status in memory."""

    job_class = EagerJob

    def __init__(self, flask: Flask) -> None:
        super().__init__(flask)
        self.statuses: OrderedDict[str, JobStatus] = OrderedDict()

    def ping(self) -> None:
        """Do nothing: there is no server."""

    def send(self, job: Any, **_: Any) -> bool:
        """Run the job in a context of its own, as a worker does."""
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        with sending_job(str(job.func_name), job.id, job.meta):
            Context().run(self.run, job)
        # {% else %}
        Context().run(self.run, job)
        # {% endif %}
        return True

    def run(self, job: EagerJob) -> None:
        """Run the job and store its status."""
        job.meta["attempts"] = 1
        status = JobStatus(id=job.id, name=str(job.func_name), state="running", attempts=1)
        self.statuses[job.id] = status
        if len(self.statuses) > MAX_STATUSES:
            self.statuses.popitem(last=False)
        try:
            status.result = job.run(self.flask)
            status.state = "succeeded"
        except Exception as error:  # Any error fails the job.
            status.state, status.error = "failed", public_error(error)
            log_job_failure(error)
        status.done, status.total = job.meta.get("done", 0), job.meta.get("total")

    def get_status(self, job_id: str) -> JobStatus | None:
        """Return the status of a job, or None if it is unknown."""
        return self.statuses.get(job_id)

    def queue_sizes(self) -> dict[str, int]:
        """Return zeros: no job waits, and failed jobs are only logged."""
        return dict.fromkeys((*QUEUES, FAILED), 0)

    def failed(self) -> list[JobStatus]:
        """Return an empty list: failed jobs are only logged."""
        return []

    def retry(self, _job_id: str) -> bool:
        """Return False: failed jobs are only logged."""
        return False


def create_broker(flask: Flask) -> Broker:
    """Create a client of Redis, or without BROKER_URL a broker that runs jobs immediately."""
    return EagerBroker(flask) if is_eager(get_settings(flask)) else Broker(flask)
