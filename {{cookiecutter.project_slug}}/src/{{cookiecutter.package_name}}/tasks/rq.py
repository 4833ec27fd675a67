"""RQ on Redis, which keeps jobs, results, and the jobs that failed."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from secrets import randbelow
from typing import Any

from flask import Flask
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Queue, Retry
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now

from .jobs import JOBS, QUEUES, Call, Errors, JobStatus
from .rq_cron import SlotScheduler
from .rq_worker import BEAT, SILENCE, FlaskJob, LeasedQueue, Worker, note_abandoned
from .running import Unavailable

FAILED = "failed"

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

# After so long without a sign of life a worker counts as dead: it gives them more often.
DEAD = timedelta(seconds=60)

# Jobs that failed are kept for a year.
FAILURE_TTL = 365 * 24 * 3600


class Broker:
    """Sends jobs by RQ, in JSON."""

    def __init__(self, flask: Flask, transient: Errors) -> None:
        self.flask = flask
        self.config = flask.config
        self.transient = transient
        self.redis = Redis.from_url(
            self.config["BROKER_URL"],
            socket_connect_timeout=self.config["BROKER_TIMEOUT"],
            socket_timeout=self.config["BROKER_TIMEOUT"],
            retry=RedisRetry(NoBackoff(), 1),
        )
        flask.extensions["rq"] = self.make_queues(self.redis)

    def make_queues(self, connection: Redis) -> list[Queue]:
        """Make the queues, in the order in which workers serve them."""
        return [
            LeasedQueue(name, connection, job_class=FlaskJob, serializer=JSONSerializer)
            for name in QUEUES
        ]

    @property
    def queues(self) -> dict[str, Queue]:
        """The queues by their names."""
        return {queue.name: queue for queue in self.make_queues(self.redis)}

    def check(self) -> None:
        """Raise `Unavailable` when Redis does not answer."""
        with answering():
            self.redis.ping()

    def send(self, call: Call, *, once: bool = False) -> bool:
        """Have a worker do it; with `once` only if no job of its id was sent before."""
        job = JOBS[call.name]
        queue = self.queues[job.queue]
        made = queue.create_job(
            call.name,
            args=tuple(call.args),
            kwargs=call.kwargs,
            job_id=call.id,
            timeout=ceil(job.limit(self.config["JOB_TIME_LIMIT"])),
            result_ttl=self.config["JOB_RESULT_TTL"],
            failure_ttl=FAILURE_TTL,
            retry=self.plan(job.attempts),
            meta={"request_id": call.request_id, "reason": call.reason, "attempts": 0},
        )
        with answering():
            try:
                queue.enqueue_job(made, unique=once)
            except DuplicateJobError:
                return False
        return True

    def plan(self, attempts: int) -> Retry | None:
        """Wait longer before each attempt, by chance, so that jobs do not come back together."""
        longest = round(self.config["JOB_RETRY_MAX_DELAY"])
        waits = [1 + randbelow(min(2**number, longest)) for number in range(1, attempts)]
        return Retry(max=len(waits), interval=waits) if waits else None

    def find(self, job_id: str) -> JobStatus | None:
        """Tell how far a job is; None if it is not known, or no longer."""
        with answering():
            try:
                job = FlaskJob.fetch(job_id, self.redis, serializer=JSONSerializer)
            except NoSuchJobError:
                return None
            return self.describe(job)

    def describe(self, job: Job) -> JobStatus:
        """Make the status of a job of RQ's."""
        status = JobStatus(
            id=job.id,
            name=str(job.func_name),
            state=STATES[job.get_status(refresh=False)],
            attempts=job.meta["attempts"],
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

    def count(self) -> dict[str, int]:
        """Count the jobs that wait in each queue, and those that failed."""
        with answering():
            waiting = {name: queue.count for name, queue in self.queues.items()}
            failed = sum(queue.failed_job_registry.count for queue in self.queues.values())
        return {**waiting, FAILED: failed}

    def failed(self) -> list[JobStatus]:
        """List the jobs that failed for good, and are kept."""
        with answering():
            registries = [queue.failed_job_registry for queue in self.queues.values()]
            ids = [job_id for registry in registries for job_id in registry.get_job_ids()]
            jobs = FlaskJob.fetch_many(ids, self.redis, serializer=JSONSerializer)
            return [self.describe(job) for job in jobs if job]

    def retry(self, job_id: str) -> bool:
        """Send a job that failed once more, with all of its attempts."""
        with answering():
            for queue in self.queues.values():
                if job_id in queue.failed_job_registry:
                    job = queue.failed_job_registry.requeue(job_id)
                    plan = self.plan(JOBS[str(job.func_name)].attempts)
                    job.retries_left = plan.max if plan else None
                    job.save()
                    return True
        return False

    def work(self) -> None:
        """Serve all queues: SIGTERM ends it when the running job is done."""
        self.check()
        with Redis.from_url(self.config["BROKER_URL"]) as connection:
            worker = Worker(
                self.make_queues(connection),
                job_class=FlaskJob,
                queue_class=LeasedQueue,
                serializer=JSONSerializer,
                job_monitoring_interval=BEAT,
                maintenance_interval=SILENCE // 2,
                worker_ttl=SILENCE,
                log_job_description=False,
            )
            worker.transient = self.transient
            worker.push_exc_handler(note_abandoned)  # type: ignore[no-untyped-call]
            worker.work(with_scheduler=True, logging_level="WARNING")
        if not worker.was_told_to_end:
            sys.exit("the worker lost its connection")

    def schedule(self) -> None:
        """Send what is due, until told to end."""
        self.check()
        with Redis.from_url(self.config["BROKER_URL"]) as connection:
            SlotScheduler(self, connection).start()  # type: ignore[no-untyped-call]

    def is_worker_alive(self) -> bool:
        """Tell whether a worker of this host has given a sign of life."""
        host = socket.gethostname()
        try:
            workers = Worker.all(self.redis, serializer=JSONSerializer)
        except RedisError:
            return False
        signs = [worker.last_heartbeat for worker in workers if worker.hostname == host]
        return any(sign and now() - sign < DEAD for sign in signs)


@contextmanager
def answering() -> Iterator[None]:
    """Raise `Unavailable` when Redis does not answer what the block asks."""
    try:
        yield
    except RedisError as error:
        raise Unavailable from error
