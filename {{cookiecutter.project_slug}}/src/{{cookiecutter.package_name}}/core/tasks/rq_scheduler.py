"""RQ: the commands `flask scheduler` and `flask worker-health`."""

import os
import socket
import time
from datetime import timedelta

import click
import structlog
from flask import current_app
from flask.cli import with_appcontext
from redis import Redis
from rq import Worker, cron
from rq.serializers import JSONSerializer
from rq.utils import now
from structlog.contextvars import bound_contextvars

# {% if cookiecutter.__monitoring %}
from .. import monitoring
# {% endif %}
from .execution import exit_if_unavailable
from .jobs import SCHEDULER_INTERVAL
from .rq import Broker, get_broker, redis_errors, worker_url

# Without a heartbeat for so long a worker counts as dead. It sends them more often.
HEALTH_TIMEOUT = timedelta(seconds=60)


class SingletonScheduler(cron.CronScheduler):
    """Sends a job only if no other scheduler has sent it for the same slot of its schedule."""

    def __init__(self, broker: Broker, connection: Redis) -> None:
        super().__init__(connection)
        self.broker = broker
        self.last_tick = now()

    def enqueue_jobs(self) -> list[cron.CronJob]:
        """Send what is due, with an ID that is the same in all schedulers."""
        # {% if cookiecutter.__monitoring %}
        monitoring.scheduler_ran()
        # {% endif %}
        time = now()
        if time < self.last_tick:
            # The clock was set back: RQ would send nothing until the old time is reached.
            for job in self.get_jobs():
                job.set_enqueue_time(time)
        self.last_tick = time
        due = [job for job in self.get_jobs() if job.should_run()]
        for job in due:
            slot = job.next_enqueue_time or time
            job_id = f"{job.name.rpartition('.')[2]}-{slot:%Y%m%dT%H%M%S}"
            log = structlog.get_logger().bind(job=job.func_name, job_id=job_id)
            try:
                with bound_contextvars(reason=f"schedule {job.cron or job.interval}"):
                    made = self.broker.create_job(job.func, job.args, job.kwargs, job_id)  # type: ignore[arg-type]
                if self.broker.send(made, unique=True):
                    log.info("scheduled job was sent")
                else:
                    log.debug("scheduled job was sent by another scheduler")
            except Exception:
                log.exception("scheduled job was not sent")
            job.set_enqueue_time(now())
        return due

    def calculate_sleep_interval(self) -> float:
        """Wait for the next job, but check the clock again soon."""
        return min(super().calculate_sleep_interval(), SCHEDULER_INTERVAL)


@click.command
@with_appcontext
def scheduler() -> None:
    """Send the jobs of cron_config.py when they are due, in UTC. Two of these send each once.

    `rq cron` would send them with pickle, in local time, and once for each scheduler.
    """
    # RQ reads schedules in the time zone of the process.
    os.environ["TZ"] = "UTC"
    time.tzset()
    with Redis.from_url(worker_url(get_broker())) as connection:
        singleton = SingletonScheduler(get_broker(), connection)
        # {% if cookiecutter.__monitoring %}
        monitoring.serve_process(get_broker().flask, "scheduler")
        # {% endif %}
        singleton.load_config_from_file(f"{current_app.import_name}.cron_config")
        singleton.start()  # type: ignore[no-untyped-call]


@click.command("worker-health")
@with_appcontext
def worker_health() -> None:
    """Exit with 0 if a worker on this host has sent a heartbeat, otherwise with 1."""
    with exit_if_unavailable(), redis_errors():
        workers = Worker.all(get_broker().redis, serializer=JSONSerializer)
    host = socket.gethostname()
    heartbeats = [worker.last_heartbeat for worker in workers if worker.hostname == host]
    if not any(heartbeat and now() - heartbeat < HEALTH_TIMEOUT for heartbeat in heartbeats):
        raise click.ClickException("no worker on this host has sent a heartbeat")
