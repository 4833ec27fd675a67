"""Celery, whatever its broker is."""

import logging
import os
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog
from celery import Celery, Task, shared_task
from celery.app.task import Context
from celery.beat import Service
from celery.exceptions import BackendError
from celery.signals import setup_logging
from flask import Flask
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from .celery_beat import ClaimingScheduler, read_schedule
from .celery_failed import FAILED, read_call
from .jobs import JOBS, QUEUES, Call, Errors, Job, JobStatus
from .running import Unavailable, explain, perform

# Seconds after its own limit in which a job may end by itself, before its process is killed.
GRACE = 5

# How often a worker tries to store a result: that is for minutes.
PATIENCE = 20

STATES: dict[str, Any] = {
    "SENT": "queued",
    "STARTED": "running",
    "RETRY": "retrying",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "failed",
}

# What a broker raises that is not there, or the place of results.
GONE = (OperationalError, BackendError, OSError)

JOBS_EXCHANGE = Exchange("jobs", type="topic")


class WorkerDiedError(Exception):
    """The worker died each time that it did this job."""


class FlaskTask(Task):  # type: ignore[misc]
    """Runs a job in the application's context, as Flask's documentation has it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the job; how far it is is kept with its state."""
        attempt = self.count_attempts()
        known = {"attempts": attempt, "done": 0, "total": None}
        self.update_state(state="STARTED", meta=known)

        def tell(done: int, total: int | None) -> None:
            known.update(done=done, total=total)
            self.update_state(state="STARTED", meta=known)

        call = read_call(self.request, args, kwargs)
        result = perform(self.app.broker.flask, call, attempt, tell, self.run)
        return {**known, "result": result}

    def count_attempts(self) -> int:
        """Count those whose worker died as well, so that no job kills workers for ever."""
        attempt: int = self.request.retries + 1
        if self.request.delivery_info.get("redelivered"):
            known = self.backend.get_task_meta(self.request.id)
            if known["status"] == "STARTED":
                attempt = max(attempt, known["result"]["attempts"] + 1)
        if attempt > self.max_retries + 1:
            raise WorkerDiedError
        return attempt

    def on_retry(self, exc: Exception, *_: Any) -> None:
        """Tell the log why there will be another attempt."""
        structlog.get_logger().warning("job is tried again", error=repr(exc))


@cache
def share(job: Job, transient: Errors, longest_delay: int) -> None:
    """Make a job a task of every Celery application of this process."""
    shared_task(
        name=job.name,
        autoretry_for=transient + job.transient,
        max_retries=job.attempts - 1,
        default_retry_delay=1,
        retry_backoff=True,
        retry_backoff_max=longest_delay,
        retry_jitter=True,
    )(job.function)


class CeleryBroker(ABC):
    """Sends jobs by Celery; what depends on the broker is in a module of its own."""

    def __init__(self, flask: Flask, transient: Errors) -> None:
        self.flask = flask
        self.config = flask.config
        for job in JOBS.values():
            share(job, transient, round(self.config["JOB_RETRY_MAX_DELAY"]))
        self.celery = self.make_app()
        self.celery.broker = self
        self.celery.set_default()
        flask.extensions["celery"] = self.celery

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the settings of Celery that depend on the broker."""

    @abstractmethod
    def queue(self, name: str) -> Queue:
        """Describe a queue."""

    @abstractmethod
    def claim(self, slot: str) -> bool:
        """Return True to one who asks for a slot of the schedule, and False to all others."""

    def make_app(self) -> Celery:
        """Set Celery up so that no job is lost, none runs for ever, and all is JSON."""
        celery = Celery(self.flask.import_name, task_cls=FlaskTask, set_as_current=False)
        celery.conf.update(
            broker_url=self.config["BROKER_URL"],
            broker_connection_timeout=self.config["BROKER_TIMEOUT"],
            broker_connection_retry_on_startup=True,
            accept_content=["json"],
            # Without that of the failed ones: no worker may serve it.
            task_queues=[self.queue(name) for name in QUEUES],
            task_default_queue="default",
            task_create_missing_queues=False,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_retry_on_worker_lost=True,
            task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
            result_extended=True,
            # What a result's place does not answer becomes a `BackendError`.
            result_backend_always_retry=True,
            result_backend_max_retries=1,
            result_expires=self.config["JOB_RESULT_TTL"],
            worker_prefetch_multiplier=1,
            worker_deduplicate_successful_tasks=True,
            worker_concurrency=self.config["WORKER_PROCESSES"],
            worker_max_tasks_per_child=self.config["WORKER_MAX_JOBS"],
            worker_max_memory_per_child=self.config["WORKER_MAX_MEMORY_MB"] * 1024,
            worker_redirect_stdouts=False,
            beat_schedule=read_schedule(),
            **self.options(),
        )
        return celery

    def check(self) -> None:
        """Raise `Unavailable` when the broker does not answer."""
        self.ask(lambda channel: self.queue("default").bind(channel).queue_declare())

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask the broker something, once more if an old connection turns out to be broken."""
        try:
            with self.celery.pool.acquire(block=True) as connection:
                asked = connection.autoretry(question, max_retries=1, interval_start=0)
                answer, _ = asked()
                return answer
        except GONE as error:
            raise Unavailable from error

    def send(self, call: Call) -> None:
        """Have a worker do it: from now on it is known, and from then on it is kept."""
        try:
            self.celery.backend.store_result(call.id, None, "SENT", request=Context(task=call.name))
            self.publish(call, JOBS[call.name].queue)
        except GONE as error:
            raise Unavailable from error

    def publish(self, call: Call, queue: str, **more: Any) -> None:
        """Send a message to a queue; only when the broker has it this returns."""
        limit = JOBS[call.name].limit(self.config["JOB_TIME_LIMIT"])
        self.celery.tasks[call.name].apply_async(
            call.args,
            call.kwargs,
            task_id=call.id,
            queue=self.queue(queue),
            headers={"request_id": call.request_id, "reason": call.reason, **more},
            soft_time_limit=limit,
            time_limit=limit + GRACE,
            confirm_timeout=self.config["BROKER_TIMEOUT"],
        )

    def find(self, job_id: str) -> JobStatus | None:
        """Tell how far a job is, as the place of results has it."""
        try:
            known = self.celery.backend.get_task_meta(job_id)
        except GONE as error:
            raise Unavailable from error
        state, result = known["status"], known["result"]
        if state not in STATES:
            return None
        status = JobStatus(id=job_id, name=known["name"], state=STATES[state])
        if isinstance(result, dict):
            for name, value in result.items():
                setattr(status, name, value)
        elif state != "SENT":
            status.attempts = (known["retries"] or 0) + 1
            status.error = explain(result)
        return status

    def count(self) -> dict[str, int]:
        """Count the jobs that wait in each queue, and those that failed."""
        return {name: self.ask(self.measure(name)) for name in (*QUEUES, FAILED)}

    def measure(self, name: str) -> Callable[[Any], int]:
        """Make the question how many messages a queue has."""
        return lambda channel: self.queue(name).bind(channel).queue_declare().message_count

    def failed(self) -> list[JobStatus]:
        """List the jobs that failed for good, and are kept."""
        return self.go_through_failed(wanted=None)

    def retry(self, job_id: str) -> bool:
        """Send a job that failed once more."""
        return any(status.id == job_id for status in self.go_through_failed(wanted=job_id))

    def go_through_failed(self, wanted: str | None) -> list[JobStatus]:
        """Take each failed job, and put it back; but send the wanted one to where it ran."""
        self.check()
        statuses = []
        with self.celery.connection_for_write() as connection:
            queue = self.queue(FAILED).bind(connection.default_channel)
            for _ in range(queue.queue_declare().message_count):
                message = queue.get(accept=["json"])
                if message is None:
                    break
                headers = message.headers
                args, kwargs, _ = message.payload
                call = read_call(Context(headers, headers=headers), args, kwargs)
                more = {"error": headers.get("error", ""), "attempts": headers.get("attempts", 0)}
                if call.id == wanted:
                    self.send(call)
                else:
                    self.publish(call, FAILED, **more)
                message.ack()
                statuses.append(JobStatus(id=call.id, name=call.name, state="failed", **more))
        return statuses

    def work(self) -> None:
        """Serve all queues: SIGTERM ends it when the running jobs are done."""
        # It logs what `perform` logs, with what the job returned.
        logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
        logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
        setup_logging.connect(leave_logging, weak=False)
        self.celery.conf.result_backend_max_retries = PATIENCE
        # Declares all queues, also the one that no worker serves.
        self.count()
        worker = self.celery.Worker(
            hostname=f"{os.getpid()}@{socket.gethostname()}",
            pool="prefork",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
        )
        worker.start()
        sys.exit(worker.exitcode)

    def schedule(self) -> None:
        """Send what is due, until told to end."""
        self.check()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        setup_logging.connect(leave_logging, weak=False)
        Service(self.celery, scheduler_cls=ClaimingScheduler).start()

    def is_worker_alive(self) -> bool:
        """Tell whether a worker of this host answers within the patience of a probe."""
        inspection = self.celery.control.inspect(
            timeout=self.config["READINESS_TIMEOUT"],
            pattern=f"*@{socket.gethostname()}",
            matcher="glob",
        )
        try:
            return bool(inspection.ping())
        except GONE:
            return False


def leave_logging(**_: Any) -> None:
    """Keep Celery from setting up logging, which the application has done."""
