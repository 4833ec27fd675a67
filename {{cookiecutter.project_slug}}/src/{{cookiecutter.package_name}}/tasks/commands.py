"""`flask worker`, `flask scheduler`, `flask worker-health` and `flask jobs …`."""

from typing import cast

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from .jobs import JOBS
from .running import Broker

jobs = AppGroup("jobs", help="Look at queues, and at the jobs that failed.")


def get_broker() -> Broker:
    """Return the current application's."""
    return cast("Broker", current_app.extensions["tasks"].broker)


@click.command
@with_appcontext
def worker() -> None:
    """Do jobs until told to end: SIGTERM lets the running ones finish."""
    get_broker().work()


@click.command
@with_appcontext
def scheduler() -> None:
    """Send the jobs that have a schedule when they are due. Two of them send each once."""
    get_broker().schedule()


@click.command("worker-health")
@with_appcontext
def worker_health() -> None:
    """End with 0 when a worker of this host answers, else with 1."""
    if not get_broker().is_worker_alive():
        raise click.ClickException("no worker of this host answers")


@jobs.command()
def queues() -> None:
    """Count the jobs that wait, and those that failed."""
    for name, length in get_broker().count().items():
        click.echo(f"{name}\t{length}")


@jobs.command()
def failed() -> None:
    """List the jobs that failed for good: id, name, attempts, error."""
    for status in get_broker().failed():
        click.echo(f"{status.id}\t{status.name}\t{status.attempts}\t{status.error}")


@jobs.command()
@click.argument("job_id")
def retry(job_id: str) -> None:
    """Send a job that failed once more."""
    if not get_broker().retry(job_id):
        raise click.ClickException(f"no failed job has the id {job_id}")
    click.echo(f"Sent {job_id} again.")


@jobs.command()
def schedule() -> None:
    """List the jobs that have a schedule, in UTC."""
    for job in JOBS.values():
        if job.cron:
            click.echo(f"{job.cron}\t{job.name}")
