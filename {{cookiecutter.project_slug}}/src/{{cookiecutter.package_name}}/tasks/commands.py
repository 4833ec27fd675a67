"""`flask worker`, `flask scheduler`, `flask worker-health` and `flask jobs …`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from .jobs import JOBS
from .running import Broker, Unavailable

jobs = AppGroup("jobs", help="Look at queues, and at the jobs that failed.")


@contextmanager
def asking() -> Iterator[Broker]:
    """Give the broker; that it does not answer is told in a line."""
    try:
        yield current_app.extensions["tasks"].broker
    except Unavailable as error:
        raise click.ClickException("the broker does not answer: see BROKER_URL") from error


@click.command
@with_appcontext
def worker() -> None:
    """Do jobs until told to end: SIGTERM lets the running ones finish."""
    with asking() as broker:
        broker.work()


@click.command
@with_appcontext
def scheduler() -> None:
    """Send the jobs that have a schedule when they are due. Two of them send each once."""
    with asking() as broker:
        broker.schedule()


@click.command("worker-health")
@with_appcontext
def worker_health() -> None:
    """End with 0 when a worker of this host answers, else with 1."""
    with asking() as broker:
        is_alive = broker.is_worker_alive()
    if not is_alive:
        raise click.ClickException("no worker of this host answers")


@jobs.command()
def queues() -> None:
    """Count the jobs that wait, and those that failed."""
    with asking() as broker:
        lengths = broker.count()
    for name, length in lengths.items():
        click.echo(f"{name}\t{length}")


@jobs.command()
def failed() -> None:
    """List the jobs that failed for good: id, name, attempts, error."""
    with asking() as broker:
        statuses = broker.failed()
    for status in statuses:
        click.echo(f"{status.id}\t{status.name}\t{status.attempts}\t{status.error}")


@jobs.command()
@click.argument("job_id")
def retry(job_id: str) -> None:
    """Send a job that failed once more."""
    with asking() as broker:
        is_sent = broker.retry(job_id)
    if not is_sent:
        raise click.ClickException(f"no failed job has the id {job_id}")
    click.echo(f"Sent {job_id} again.")


@jobs.command()
def schedule() -> None:
    """List the jobs that have a schedule, in UTC."""
    for job in JOBS.values():
        if job.cron:
            click.echo(f"{job.cron}\t{job.name}")
