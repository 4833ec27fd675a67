"""RQ: a worker that runs jobs in another process and loses none."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask, current_app
from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq import Worker as RQWorker
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now

from ...config import get_settings
# {% if cookiecutter.error_tracking == "sentry" %}
from .. import error_tracking
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from ..monitoring.otlp.jobs import JobMetrics, last_exports
# {% endif %}
from .execution import bind_log_context, execute, log_job_failure, log_job_retry, public_error
from .jobs import DEFAULT, Errors
from .on_commit import TRANSIENT_ERRORS
from .rq_work_horse import WorkHorse

# Seconds without a heartbeat after which another worker takes a job, and between two heartbeats.
HEARTBEAT_TIMEOUT = 30
HEARTBEAT_INTERVAL = 10

# Seconds between two checks of empty queues.
POLL_INTERVAL = 0.1

# A busy worker sends no heartbeat within this time of the last one.
MIN_HEARTBEAT_INTERVAL = timedelta(seconds=1)

# Take the first job of the first queue that has one, and record that a worker has it.
LUA_DEQUEUE = """
for _, key in ipairs(KEYS) do
    local id = redis.call('LMOVE', key, key .. ':intermediate', 'LEFT', 'RIGHT')
    if id then
        return {key, id}
    end
end
"""

current_job: ContextVar[Job | None] = ContextVar("current_job", default=None)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is sent and retried."""

    queue: str = DEFAULT
    timeout: float | None = None
    max_attempts: int = 5
    retry_on: Errors = ()


class WorkerDiedError(Exception):
    """The worker died while it ran this job."""


class FlaskJob(Job):
    """Job that runs in an application context; its `meta` contains the progress."""

    def prepare_for_execution(self, worker_name: str, pipeline: Pipeline) -> None:
        """Count the attempt when it starts."""
        super().prepare_for_execution(worker_name, pipeline)
        self.meta["attempts"] = self.meta.get("attempts", 0) + 1
        pipeline.hset(self.key, "meta", self.serializer.dumps(self.meta))

    # Private: the public `perform` also maintains RQ's state, and calls this for the function.
    def _execute(self) -> Any:
        """Run the function."""
        # Werkzeug documents this method in spite of its name.
        return self.run(current_app._get_current_object())  # type: ignore[attr-defined]

    def run(self, app: Flask) -> Any:
        """Run the function in contexts of its own."""
        current_job.set(self)
        self.bind_log_context()
        function = self.func
        assert function  # noqa: S101 - `func_name` is not empty
        return execute(app, function, *self.args, **self.kwargs)

    def bind_log_context(self) -> None:
        """Add the job and its sender to all following log lines."""
        bind_log_context(str(self.func_name), self.id, self.meta.get("attempts", 0), self.meta)


class LeasedQueue(Queue):
    """Queue whose jobs are found again when their worker dies."""

    @classmethod
    def lpop(
        cls,
        queue_keys: Sequence[str],
        timeout: int | None,
        connection: Redis | None = None,
    ) -> Any:
        """Take a job. RQ itself does not record it for a moment if it serves several queues."""
        assert connection  # noqa: S101 - RQ always passes one
        deadline = time.monotonic() + (timeout or 0)
        while not (taken := connection.eval(LUA_DEQUEUE, len(queue_keys), *queue_keys)):
            if timeout is None:
                return None
            if time.monotonic() > deadline:
                raise DequeueTimeout(timeout, queue_keys)
            time.sleep(POLL_INTERVAL)
        return taken


class Worker(RQWorker):
    """Worker for `rq worker --worker-class`; it sets all other options itself."""

    is_stopped = False
    work_horse: WorkHorse | None = None
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    job_metrics: JobMetrics | None = None
    # {% endif %}

    def __init__(self, queues: Sequence[Queue], *args: Any, **options: Any) -> None:
        options |= {
            "job_class": FlaskJob,
            "queue_class": LeasedQueue,
            "serializer": JSONSerializer,
            "job_monitoring_interval": HEARTBEAT_INTERVAL,
            "maintenance_interval": HEARTBEAT_TIMEOUT // 2,
            "worker_ttl": HEARTBEAT_TIMEOUT,
            "log_job_description": False,
        }
        options.pop("default_worker_ttl", None)
        names = [queue.name for queue in queues]
        super().__init__(names, *args, **options)
        self.push_exc_handler(handle_abandoned)  # type: ignore[no-untyped-call]

    def work(self, burst: bool = False, *args: Any, **options: Any) -> bool:
        """Run jobs, and those whose retry is due, until SIGTERM; end with 1 if Redis is lost."""
        options |= {"with_scheduler": True, "logging_level": "WARNING"}
        has_worked = super().work(burst, *args, **options)
        is_limited = burst or options.get("max_jobs") or options.get("max_idle_time")
        if not (self.is_stopped or is_limited):
            sys.exit("Error: the worker lost its connection")
        return has_worked

    def request_stop(self, *signal: Any) -> None:
        """Remember that a signal stopped the worker."""
        self.is_stopped = True
        super().request_stop(*signal)  # type: ignore[no-untyped-call]

    def get_heartbeat_ttl(self, *_: Any, **__: Any) -> int:
        """Return the seconds without a heartbeat after which another worker takes the job."""
        return HEARTBEAT_TIMEOUT

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Send a heartbeat. RQ calls this five times for each job, with three round trips."""
        last = self.last_heartbeat
        if timeout or pipeline is not None or not last or now() - last > MIN_HEARTBEAT_INTERVAL:
            super().heartbeat(timeout, pipeline)

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Store the state if it changes."""
        if state != self.get_state():
            super().set_state(state, pipeline)

    @property
    def horse_pid(self) -> int:
        """The ID of the process that runs jobs, or 0."""
        return self.work_horse.pid if self.work_horse else 0

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Give a job to the process that ran the last one, or fork one."""
        (execution,) = self.executions.values()
        if not (self.work_horse and self.work_horse.send(execution.composite_key)):
            self.work_horse = WorkHorse()
            # {% if cookiecutter.monitoring == "opentelemetry" %}
            self.job_metrics = self.job_metrics or JobMetrics()
            # {% endif %}
            super().fork_work_horse(job, queue)
            self.work_horse.started(super().horse_pid)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait until the job has ended, with or without its process."""
        if self.work_horse and (status := self.work_horse.wait()) is not None:
            return self.work_horse.pid, status, None
        return super().wait_for_horse()

    # {% if cookiecutter.monitoring == "opentelemetry" %}
    @last_exports()
    # {% endif %}
    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run a job in the work horse, and then others until one fails or a limit is reached."""
        while has_succeeded := self.run_job(job, queue, execution):
            horse = self.work_horse if self.is_horse else None
            if not (horse and horse.may_continue(get_settings(current_app))):
                break
            if not (key := horse.receive()):
                break
            execution = Execution.from_composite_key(key, self.connection)
            execution.worker_name = self.name
            job = self.job_class.fetch(execution.job_id, self.connection, self.serializer)
            (queue,) = [queue for queue in self.queues if queue.name == job.origin]
            self.execution = execution
            os.environ["RQ_JOB_ID"] = job.id
        return has_succeeded

    def run_job(self, *args: Any) -> bool:
        """Run a job; its context variables do not exist in the next one."""
        # A job may have blocked the signal of time limits.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        try:
            return copy_context().run(super().perform_job, *args)
        finally:
            if self.is_horse and self.job_metrics:
                self.job_metrics.write()
        # {% else %}
        return copy_context().run(super().perform_job, *args)
        # {% endif %}

    def teardown(self) -> None:
        """Stop the work horse, too."""
        if self.work_horse:
            self.work_horse.stop()
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        if self.job_metrics:
            self.job_metrics.file.close()
        # {% endif %}
        super().teardown()  # type: ignore[no-untyped-call]

    def prepare_job_execution(self, job: Job, *_: Any, **__: Any) -> None:
        """Delete the record of `LeasedQueue`: from now on the job has a heartbeat."""
        super().prepare_job_execution(job, remove_from_intermediate_queue=True)

    # {% if cookiecutter.monitoring == "opentelemetry" %}
    def execute_job(self, *args: Any) -> None:
        """Run a job in the work horse, and add its metrics to those of the worker."""
        super().execute_job(*args)
        if self.job_metrics:
            self.job_metrics.read()

    # {% endif %}
    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Retry only if the error is transient."""
        error = exc_info[1]
        if not isinstance(error, TRANSIENT_ERRORS + get_options(job).retry_on):
            job.retries_left = 0
        record_failure(job, error)

    def handle_work_horse_killed(self, job: Job, *_: Any) -> None:
        """Log that the process was killed: by the time limit, for its memory or by an operator."""
        record_failure(job, WorkerDiedError())


def get_options(job: Job) -> JobOptions:
    """Return the options of the job's function; of one without `@job` the default values."""
    options: JobOptions = getattr(job.func, "options", JobOptions())
    return options


def handle_abandoned(job: Job, *_: Any) -> None:
    """Log that the worker was killed; the next attempt need not wait."""
    if job.should_retry and job.retry_intervals and job.retries_left:
        job.retry_intervals[-job.retries_left] = 0
    record_failure(job, WorkerDiedError())


def record_failure(job: Any, error: Exception) -> None:
    """Store and log the error of an attempt; without another attempt the job has failed."""
    # The process of the job may have changed it.
    job.get_meta(refresh=True)
    job.meta["error"] = public_error(error)
    job.save_meta()
    job.bind_log_context()
    if job.should_retry:
        log_job_retry(error)
    else:
        log_job_failure(error)
        # {% if cookiecutter.error_tracking == "sentry" %}
        # The process of a job calls no `atexit` functions.
        error_tracking.flush()
        # {% endif %}
