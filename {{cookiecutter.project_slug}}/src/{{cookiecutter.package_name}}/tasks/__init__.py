"""Background jobs: what takes long, may fail or waits for others is done after the answer.

A function becomes a job by `@job(queue=LOW, …)`, and is asked for by `its_name.enqueue(…)`.
"""

from types import SimpleNamespace

from flask import Flask

from . import views
# {% if cookiecutter.__database %}
from .committed import TRANSIENT, deliver
# {% endif %}
# {% if cookiecutter.database == "none" %}
from .immediate import TRANSIENT, deliver
# {% endif %}
from .inline import Inline
from .jobs import DEFAULT, HIGH, LOW, JobError, JobStatus, find, job, report
from .views import accept

__all__ = [
    "DEFAULT",
    "HIGH",
    "LOW",
    "JobError",
    "JobStatus",
    "accept",
    "find",
    "init_app",
    "job",
    "report",
]


def init_app(app: Flask) -> None:
    """Connect to the broker when the first job is sent; without one, do jobs at once."""
    app.extensions["tasks"] = SimpleNamespace(
        backend=Inline(app),
        deliver=deliver,
        transient=TRANSIENT,
    )
    app.register_blueprint(views.blueprint)
