"""`flask jobs …`."""

import click
from flask.cli import AppGroup

# {% if cookiecutter.__celery %}
from .celery import get_broker
# {% endif %}
from .execution import exit_if_unavailable
# {% if cookiecutter.task_queue == "rq-redis" %}
from .rq import get_broker
# {% endif %}

jobs = AppGroup("jobs", help="Show queues and failed jobs.")


@jobs.command()
@exit_if_unavailable()
def queues() -> None:
    """Print the number of jobs in each queue, and of failed jobs."""
    for name, size in get_broker().queue_sizes().items():
        click.echo(f"{name}\t{size}")


@jobs.command()
@exit_if_unavailable()
def failed() -> None:
    """Print the jobs that failed for good: ID, name, attempts, error."""
    for status in get_broker().failed():
        click.echo(f"{status.id}\t{status.name}\t{status.attempts}\t{status.error}")


@jobs.command()
@click.argument("job_id")
@exit_if_unavailable()
def retry(job_id: str) -> None:
    """Send a failed job again."""
    if not get_broker().retry(job_id):
        raise click.ClickException(f"no failed job has the ID {job_id}")
    click.echo(f"Sent {job_id} again.")
