"""Scheduler of `celery beat`; of several schedulers only one sends each job."""

from datetime import datetime
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import crontab
from structlog.contextvars import bound_contextvars

# {% if cookiecutter.__monitoring %}
from .. import monitoring
# {% endif %}
from .celery import exit_without_broker
# {% if cookiecutter.task_queue == "celery-rabbitmq" %}
from .celery_rabbitmq import claim
# {% elif cookiecutter.task_queue == "celery-redis" %}
from .celery_redis import claim
# {% endif %}


def slot_of(entry: ScheduleEntry) -> str:
    """Return the name of the time at which an entry is due."""
    last, rest, _ = entry.schedule.remaining_delta(entry.last_run_at)
    return f"{entry.name}-{last + rest:%Y%m%dT%H%M}"


class SingletonScheduler(Scheduler):  # type: ignore[misc]
    """Sends a job only if no other scheduler has sent it for the same slot of its schedule."""

    last_tick: datetime | None = None

    def setup_schedule(self) -> None:
        """Check the broker before the first tick."""
        exit_without_broker(self.app)
        # {% if cookiecutter.__monitoring %}
        monitoring.serve_process(self.app.broker.flask, "scheduler")
        # {% endif %}
        super().setup_schedule()
        # `Scheduler` drops the cleanup of results, which `beat_schedule` does not contain.
        self.install_default_entries(self.schedule)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due. After the clock was set back, compute the next times again.

        Celery would send nothing until the old time is reached. No slot is sent twice.
        """
        # {% if cookiecutter.__monitoring %}
        monitoring.scheduler_ran()
        # {% endif %}
        now = self.app.now()
        if self.last_tick and now < self.last_tick:
            for entry in self.schedule.values():
                entry.last_run_at = now
            self.populate_heap()
        self.last_tick = now
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Claim the slot of a crontab, whose name is the same in all schedulers; send the job."""
        log = structlog.get_logger().bind(job=entry.task)
        try:
            if isinstance(entry.schedule, crontab) and not claim(self.app, slot_of(entry)):
                log.debug("scheduled job was sent by another scheduler")
                return
            with bound_contextvars(reason=f"schedule {entry.name}"):
                result = self.apply_async(entry, producer=producer, advance=False)
        except Exception:
            log.exception("scheduled job was not sent")
        else:
            log.info("scheduled job was sent", job_id=result.id)
