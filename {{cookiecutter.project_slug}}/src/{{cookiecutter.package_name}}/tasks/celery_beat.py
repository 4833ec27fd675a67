"""Celery: its scheduler, of which several may run."""

from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import crontab

from .jobs import JOBS


def read_schedule() -> dict[str, dict[str, Any]]:
    """Return the jobs that have a `cron`, as Celery wants them."""
    return {
        job.name: {"task": job.name, "schedule": crontab.from_string(job.cron)}
        for job in JOBS.values()
        if job.cron
    }


class ClaimingScheduler(Scheduler):  # type: ignore[misc]
    """Sends a job only if no other scheduler has done so for the same moment of its schedule."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # noqa: ARG002
        """Claim the moment, whose name is the same in all schedulers, and send the job."""
        last, rest, _ = entry.schedule.remaining_delta(entry.last_run_at)
        broker = self.app.broker
        log = structlog.get_logger().bind(job=entry.name)
        try:
            if not broker.claim(f"{entry.name}-{last + rest:%Y%m%dT%H%M}"):
                log.debug("scheduled job was sent by another scheduler")
                return
            call = JOBS[entry.name].prepare()
            call.reason = f"schedule {JOBS[entry.name].cron}"
            broker.send(call)
        except Exception:
            log.exception("scheduled job was not sent")
        else:
            log.info("scheduled job was sent", job_id=call.id)
