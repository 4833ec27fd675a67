"""Jobs without a broker, for debug mode and tests: done at once, in the process that asks."""

from collections import OrderedDict
from contextvars import Context

import structlog
from click import ClickException
from flask import Flask

from .jobs import JOBS, QUEUES, Call, Errors, JobStatus
from .running import explain, perform

# How many statuses are kept.
KEPT = 1000


class Broker:
    """Does each job when it is sent; it is tried once."""

    def __init__(self, flask: Flask, _transient: Errors) -> None:
        self.flask = flask
        self.statuses: OrderedDict[str, JobStatus] = OrderedDict()
        self.calls: dict[str, Call] = {}

    def check(self) -> None:
        """Be there, always."""

    def send(self, call: Call) -> None:
        """Do it, away from the request and its session, as a worker would."""
        status = JobStatus(id=call.id, name=call.name, state="running", attempts=1)
        self.statuses[call.id] = status
        if len(self.statuses) > KEPT:
            forgotten, _ = self.statuses.popitem(last=False)
            self.calls.pop(forgotten, None)
        Context().run(self.run, call, status)

    def run(self, call: Call, status: JobStatus) -> None:
        """Do it, and keep how it went."""

        def tell(done: int, total: int | None) -> None:
            status.done, status.total = done, total

        try:
            status.result = perform(self.flask, call, 1, tell, JOBS[call.name])
            status.state = "succeeded"
        except Exception as error:  # noqa: BLE001 - whatever it is, the job failed
            status.state = "failed"
            status.error = explain(error)
            self.calls[call.id] = call
            structlog.get_logger().exception("job failed")

    def find(self, job_id: str) -> JobStatus | None:
        """Tell how it went."""
        return self.statuses.get(job_id)

    def count(self) -> dict[str, int]:
        """Count those that failed; none waits."""
        return {**dict.fromkeys(QUEUES, 0), "failed": len(self.calls)}

    def failed(self) -> list[JobStatus]:
        """List those that failed in this process."""
        return [self.statuses[job_id] for job_id in self.calls]

    def retry(self, job_id: str) -> bool:
        """Do it once more."""
        if call := self.calls.pop(job_id, None):
            self.send(call)
        return call is not None

    def work(self) -> None:
        """Say that nobody has to."""
        raise ClickException("without BROKER_URL jobs are done at once: there is no worker")

    def schedule(self) -> None:
        """Say that nobody can."""
        raise ClickException("without BROKER_URL there is no scheduler")

    def is_worker_alive(self) -> bool:
        """Tell that there is none."""
        return False
