"""API of job statuses: a client that got 202 reads here how far its job is."""

from http import HTTPStatus

from flask import Blueprint, url_for
from werkzeug.exceptions import NotFound

# {% if cookiecutter.__auth %}
from ..access import requires
# {% endif %}
from ..api import operation
from ..errors import Problem
# {% if cookiecutter.__celery %}
from .celery import get_broker
# {% endif %}
from .jobs import JOB_ID, JobStatus
# {% if cookiecutter.task_queue == "rq-redis" %}
from .rq import get_broker
# {% endif %}

blueprint = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs")

NO_STORE = {"Cache-Control": "no-store"}


@blueprint.get("/<job_id>")
# {% if cookiecutter.__auth %}
@requires()
# {% endif %}
@operation("Jobs", {200: JobStatus, 404: Problem})
def read_job(job_id: str) -> tuple[JobStatus, int, dict[str, str]]:
    """Return the state of a job, its progress, and its result or error."""
    status = get_status(job_id)
    if status is None:
        raise NotFound("The job does not exist or has expired.")
    return status, HTTPStatus.OK, NO_STORE


def get_status(job_id: str) -> JobStatus | None:
    """Return the status of a job, or None if it is unknown or expired."""
    if not JOB_ID.fullmatch(job_id):
        return None
    broker = get_broker()
    broker.result_circuit.reject_if_open()
    status: JobStatus | None = broker.result_circuit.call(broker.get_status, job_id)
    return status


def accepted_response(job_id: str) -> tuple[JobStatus, int, dict[str, str]]:
    """Return a 202 response whose `Location` is the URL of the job's status."""
    location = url_for("jobs.read_job", job_id=job_id)
    status = get_status(job_id) or JobStatus(id=job_id, name="")
    return status, HTTPStatus.ACCEPTED, {**NO_STORE, "Location": location}
