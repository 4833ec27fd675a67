"""Background jobs: what takes long, may fail or waits for others is done after the answer.

A function becomes a job by `@job(queue=LOW, …)`, and is asked for by `its_name.enqueue(…)`.
"""

from collections.abc import Callable
from types import SimpleNamespace

from flask import Flask, current_app

from . import (
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    celery_rabbitmq,
    # {% elif cookiecutter.task_queue == "celery-redis" %}
    celery_redis,
    # {% endif %}
    commands,
    # {% if cookiecutter.__database %}
    committed,
    # {% endif %}
    # {% if cookiecutter.database == "none" %}
    immediate,
    # {% endif %}
    inline,
    # {% if cookiecutter.task_queue == "rq-redis" %}
    rq,
    # {% endif %}
    views,
)
from .jobs import DEFAULT, HIGH, LOW, Errors, JobError, JobStatus, Reason, find, job, report
from .running import Broker
from .views import accept

__all__ = [
    "DEFAULT",
    "HIGH",
    "LOW",
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

# By the scheme of BROKER_URL.
BROKERS: dict[str, Callable[[Flask, Errors], Broker]] = {
    "inline": inline.Broker,
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    "amqps": celery_rabbitmq.Broker,
    "amqp": celery_rabbitmq.Broker,
    # {% elif cookiecutter.task_queue == "celery-redis" %}
    "rediss": celery_redis.Broker,
    "redis": celery_redis.Broker,
    # {% elif cookiecutter.task_queue == "rq-redis" %}
    "rediss": rq.Broker,
    "redis": rq.Broker,
    # {% endif %}
}


def init_app(app: Flask) -> None:
    """Take jobs, for a broker that is asked when the first one is sent, or to do them at once."""
    # {% if cookiecutter.__database %}
    sending = committed
    # {% endif %}
    # {% if cookiecutter.database == "none" %}
    sending = immediate
    # {% endif %}
    make_broker = BROKERS[app.config["BROKER_URL"].partition(":")[0]]
    app.extensions["tasks"] = SimpleNamespace(
        broker=make_broker(app, sending.TRANSIENT),
        deliver=sending.deliver,
    )
    app.register_blueprint(views.blueprint)
    for command in (commands.worker, commands.scheduler, commands.worker_health, commands.jobs):
        app.cli.add_command(command)


def count() -> dict[str, int]:
    """Count the jobs that wait in each queue, and those that failed: figures to watch."""
    counted: dict[str, int] = current_app.extensions["tasks"].broker.count()
    return counted
