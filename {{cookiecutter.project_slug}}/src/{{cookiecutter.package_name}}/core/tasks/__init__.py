"""Background jobs: slow work runs in a worker, after the response."""

from flask import Flask

from ...config import RENAMED
from . import (
    # {% if cookiecutter.__celery %}
    celery,
    # {% endif %}
    commands,
    # {% if cookiecutter.task_queue == "rq-redis" %}
    rq,
    rq_scheduler,
    # {% endif %}
    views,
)
# {% if cookiecutter.__celery %}
from .celery import get_broker, report_progress
# {% endif %}
from .jobs import DEFAULT, HIGH, LOW, BrokerUnavailable, JobError, JobStatus, Reason
# {% if cookiecutter.task_queue == "rq-redis" %}
from .rq import get_broker, job, report_progress
# {% endif %}
from .views import accepted_response, get_status

RENAMED.update(JOB_RETRY_MAX_DELAY="JOB_RETRY_BACKOFF_MAX")

__all__ = [
    "DEFAULT",
    "HIGH",
    "LOW",
    "BrokerUnavailable",
    "JobError",
    "JobStatus",
    "Reason",
    "accepted_response",
    "get_status",
    "init_app",
    # {% if cookiecutter.task_queue == "rq-redis" %}
    "job",
    # {% endif %}
    "queue_sizes",
    "report_progress",
]


def init_app(app: Flask) -> None:
    """Create the broker's client, which connects when the first job is sent."""
    # {% if cookiecutter.__celery %}
    broker = celery.Broker(app)
    app.extensions["celery"] = broker.celery
    # {% endif %}
    # {% if cookiecutter.task_queue == "rq-redis" %}
    broker = rq.create_broker(app)
    app.cli.add_command(rq_scheduler.scheduler)
    app.cli.add_command(rq_scheduler.worker_health)
    # {% endif %}
    app.extensions["tasks"] = broker
    app.register_blueprint(views.blueprint)
    app.cli.add_command(commands.jobs)


def queue_sizes() -> dict[str, int]:
    """Return the number of jobs in each queue, and of failed jobs: metrics to watch."""
    return get_broker().queue_sizes()
