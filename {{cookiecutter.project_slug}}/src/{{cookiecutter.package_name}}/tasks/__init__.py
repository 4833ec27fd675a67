"""Background jobs: what takes long, may fail or waits for others is done after the answer.

A function becomes a job by `@job(queue=LOW, …)`, and is asked for by `its_name.enqueue(…)`.
"""

from types import SimpleNamespace

from flask import Flask, current_app

from . import commands, views
# {% if cookiecutter.task_queue == "celery-rabbitmq" %}
from .celery_rabbitmq import Broker
# {% endif %}
# {% if cookiecutter.task_queue == "celery-redis" %}
from .celery_redis import Broker
# {% endif %}
# {% if cookiecutter.__database %}
from .committed import TRANSIENT, deliver
# {% endif %}
# {% if cookiecutter.database == "none" %}
from .immediate import TRANSIENT, deliver
# {% endif %}
from .inline import Inline
from .jobs import DEFAULT, HIGH, LOW, JobError, JobStatus, Reason, find, job, report
# {% if cookiecutter.task_queue == "rq-redis" %}
from .rq import Broker
# {% endif %}
from .views import accept

__all__ = [
    "DEFAULT",
    "HIGH",
    "LOW",
    "TRANSIENT",
    "Broker",
    "JobError",
    "JobStatus",
    "Reason",
    "accept",
    "count",
    "find",
    "init_app",
    "job",
    "report",
]


def init_app(app: Flask) -> None:
    """Take jobs: for the broker, or with `inline://` at once."""
    is_inline = app.config["BROKER_URL"].startswith("inline:")
    app.extensions["tasks"] = SimpleNamespace(
        broker=Inline(app) if is_inline else Broker(app, TRANSIENT),
        deliver=deliver,
    )
    app.register_blueprint(views.blueprint)
    for command in (commands.worker, commands.scheduler, commands.worker_health, commands.jobs):
        app.cli.add_command(command)


def count() -> dict[str, int]:
    """Count the jobs that wait in each queue, and those that failed: figures to watch."""
    counted: dict[str, int] = current_app.extensions["tasks"].broker.count()
    return counted
