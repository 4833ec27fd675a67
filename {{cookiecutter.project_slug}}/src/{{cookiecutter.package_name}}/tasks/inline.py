"""Jobs without a broker, for debug mode and tests: done at once, in the process that asks."""

from collections import OrderedDict
from contextvars import Context

import structlog
from flask import Flask

from .jobs import JOBS, Call, JobStatus, explain, perform

# How many statuses are kept.
KEPT = 1000


class Inline:
    """Does each job when it is sent; it is tried once."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.statuses: OrderedDict[str, JobStatus] = OrderedDict()

    def check(self) -> None:
        """Be there, always."""

    def send(self, call: Call) -> None:
        """Do it, away from the request and its session, as a worker would."""
        status = JobStatus(id=call.id, name=call.name, state="running", attempts=1)
        self.statuses[call.id] = status
        while len(self.statuses) > KEPT:
            self.statuses.popitem(last=False)
        Context().run(self.run, call, status)

    def run(self, call: Call, status: JobStatus) -> None:
        """Do it, and keep how it went."""

        def tell(done: int, total: int | None) -> None:
            status.done, status.total = done, total

        try:
            status.result = perform(self.app, call, 1, tell)
            status.state = "succeeded"
        except Exception as error:  # noqa: BLE001 - whatever it is, the job failed
            status.state = "failed"
            status.error = explain(error)
            structlog.get_logger().exception("job failed", queue=JOBS[call.name].queue)

    def find(self, job_id: str) -> JobStatus | None:
        """Tell how it went."""
        return self.statuses.get(job_id)
