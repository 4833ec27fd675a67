"""The API of jobs: a client that was answered 202 asks here how far its job is."""

from http import HTTPStatus

from flask import Blueprint, url_for
from werkzeug.exceptions import NotFound

from ..api import operation
from ..errors import Problem
from .jobs import JobStatus, find

blueprint = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs")

NO_STORE = {"Cache-Control": "no-store"}


@blueprint.get("/<job_id>")
@operation("Jobs", {200: JobStatus, 404: Problem})
def read_job(job_id: str) -> tuple[JobStatus, int, dict[str, str]]:
    """Show how far a job is, and its result or its error at the end."""
    status = find(job_id)
    if status is None:
        raise NotFound("There is no such job, or no longer.")
    return status, HTTPStatus.OK, NO_STORE


def accept(job_id: str) -> tuple[JobStatus, int, dict[str, str]]:
    """Answer 202: the job was taken, and where a client can ask for it."""
    location = url_for("jobs.read_job", job_id=job_id)
    status = find(job_id) or JobStatus(id=job_id, name="")
    return status, HTTPStatus.ACCEPTED, {**NO_STORE, "Location": location}
