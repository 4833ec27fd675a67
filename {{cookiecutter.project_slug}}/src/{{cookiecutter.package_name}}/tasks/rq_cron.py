"""RQ: its scheduler, of which several may run."""

from typing import Any

import structlog
from redis import Redis
from rq.cron import CronJob, CronScheduler
from rq.utils import now

from .jobs import JOBS


class SlotScheduler(CronScheduler):
    """Sends a job only if no other scheduler has done so for the same moment of its schedule."""

    def __init__(self, broker: Any, connection: Redis) -> None:
        super().__init__(connection)
        self.broker = broker
        for job in JOBS.values():
            if job.cron:
                self.register(job.function, job.queue, cron=job.cron, name=job.name)

    def enqueue_jobs(self) -> list[CronJob]:
        """Send what is due, by an id that is the same in all schedulers."""
        due = [job for job in self.get_jobs() if job.should_run()]
        for job in due:
            call = JOBS[job.name].prepare()
            call.id = f"{job.name}-{job.next_enqueue_time:%Y%m%dT%H%M}"
            call.reason = f"schedule {job.cron}"
            log = structlog.get_logger().bind(job=job.name, job_id=call.id)
            try:
                if self.broker.send(call, once=True):
                    log.info("scheduled job was sent")
                else:
                    log.debug("scheduled job was sent by another scheduler")
            except Exception:
                log.exception("scheduled job was not sent")
            job.set_enqueue_time(now())
        return due
