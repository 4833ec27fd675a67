"""Notes of a team, as written for version 0.2.0."""

from flask import Blueprint, Flask, current_app

from ..api import operation
from ..cache import keep_view
from ..http_caching import public
from ..tasks import JobStatus, accept, job

blueprint = Blueprint("notes", __name__, url_prefix="/api/v1/notes")


def init_app(app: Flask) -> None:
    """Serve the notes, from the cache."""
    app.register_blueprint(blueprint)
    keep_view(app, "notes.greet")


@blueprint.get("")
@public()
@operation("Notes", {200: list[str]})
def greet() -> list[str]:
    """Greet."""
    return [current_app.config["GREETING"]]


@blueprint.post("")
@operation("Notes", {202: JobStatus})
def count() -> tuple[JobStatus, int, dict[str, str]]:
    """Count the letters of the greeting in the background."""
    return accept(count_letters.enqueue(current_app.config["GREETING"]))


@job(attempts=2, time_limit=30)
def count_letters(text: str) -> int:
    """Return the number of letters."""
    return len(text)
