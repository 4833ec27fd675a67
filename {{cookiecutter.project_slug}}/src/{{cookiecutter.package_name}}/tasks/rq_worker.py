"""RQ: its worker, which does each job in a process of its own and loses none."""

import time
from collections.abc import Sequence
from typing import Any

import structlog
from flask import current_app
from redis import Redis
from rq import Queue
from rq import Worker as RQWorker
from rq.exceptions import DequeueTimeout
from rq.job import Job

from .jobs import JOBS, Call, Errors
from .running import bind, explain, perform

# Seconds without a sign of life after which another worker takes a job; signs come every BEAT.
SILENCE = 30
BEAT = 10

# Seconds between two looks at empty queues.
PAUSE = 0.1

# Takes the first job of the first queue that has one, and notes that a worker has it.
TAKE = """
for _, key in ipairs(KEYS) do
    local id = redis.call('LMOVE', key, key .. ':intermediate', 'LEFT', 'RIGHT')
    if id then
        return {key, id}
    end
end
"""


class WorkerDiedError(Exception):
    """The worker died while it did this job."""


class FlaskJob(Job):
    """A job in the application's context; its progress is kept in its `meta`."""

    def _execute(self) -> Any:
        """Do it."""
        self.meta["attempts"] += 1
        self.save_meta()  # type: ignore[no-untyped-call]
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        call = self.call
        return perform(app, call, self.meta["attempts"], self.tell, JOBS[call.name])

    @property
    def call(self) -> Call:
        """What was sent."""
        return Call(
            id=self.id,
            name=str(self.func_name),
            args=list(self.args),
            kwargs=self.kwargs,
            request_id=self.meta["request_id"],
            reason=self.meta["reason"],
        )

    def tell(self, done: int, total: int | None) -> None:
        """Keep how far it is."""
        self.meta.update(done=done, total=total)
        self.save_meta()  # type: ignore[no-untyped-call]


class LeasedQueue(Queue):
    """A queue whose jobs are found again when their worker dies."""

    @classmethod
    def lpop(
        cls,
        queue_keys: Sequence[str],
        timeout: int | None,
        connection: Redis | None = None,
    ) -> Any:
        """Take a job; RQ itself would forget it for a moment when it serves several queues."""
        assert connection  # noqa: S101 - RQ always has one
        deadline = time.monotonic() + (timeout or 0)
        while not (taken := connection.eval(TAKE, len(queue_keys), *queue_keys)):
            if timeout is None:
                return None
            if time.monotonic() > deadline:
                raise DequeueTimeout(timeout, queue_keys)
            time.sleep(PAUSE)
        return taken


class Worker(RQWorker):
    """Does one job at a time, each in a process of its own."""

    transient: Errors = ()
    was_told_to_end = False

    def request_stop(self, *signal: Any) -> None:
        """Remember that it was told to."""
        self.was_told_to_end = True
        super().request_stop(*signal)  # type: ignore[no-untyped-call]

    def get_heartbeat_ttl(self, _job: Job) -> int:
        """Give a job to another worker when this one has been silent for so many seconds."""
        return SILENCE

    def prepare_job_execution(self, job: Job, *_: Any, **__: Any) -> None:
        """Take the note back that `LeasedQueue` has made: from now on the job has a heartbeat."""
        super().prepare_job_execution(job, remove_from_intermediate_queue=True)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Make no other attempt unless the error is transient."""
        error = exc_info[1]
        if not isinstance(error, self.transient + JOBS[str(job.func_name)].transient):
            job.retries_left = 0
        note(job, error)

    def handle_work_horse_killed(self, job: Job, *_: Any) -> None:
        """Tell that its process was killed: for its time, its memory, or by somebody."""
        note(job, WorkerDiedError())


def note_abandoned(job: Job, *_: Any) -> None:
    """Tell that the worker was killed; if there is another attempt, it need not wait."""
    if job.should_retry and job.retry_intervals and job.retries_left:
        job.retry_intervals[-job.retries_left] = 0
    note(job, WorkerDiedError())


def note(job: Any, error: Exception) -> None:
    """Keep the reason, and tell the log: a line that alerts if there is no other attempt."""
    # The process of the job may have changed it.
    job.get_meta(refresh=True)
    job.meta["error"] = explain(error)
    job.save_meta()
    bind(job.call, job.meta["attempts"])
    log = structlog.get_logger()
    if job.should_retry:
        log.warning("job is tried again", error=repr(error))
    else:
        log.error("job failed", exc_info=error)
