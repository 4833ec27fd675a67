"""Debug panel: records of the last requests, at /debug/requests.

The factory imports it in debug mode only.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    render_template,
    request,
    request_started,
    send_from_directory,
)

from .. import logs
# {% if cookiecutter.__auth %}
from ..access import allow_anonymous
# {% endif %}
from . import (
    # {% if cookiecutter.__cache %}
    cache_calls,
    # {% endif %}
    # {% if cookiecutter.__nosql %}
    operations,
    # {% endif %}
    # {% if cookiecutter.__sql %}
    queries,
    # {% endif %}
    templates,
)
from .record import Record, current_record

MAX_REQUESTS = 50

blueprint = Blueprint("debug_panel", __name__, url_prefix="/debug", template_folder=".")


def init_app(app: Flask) -> None:
    """Record requests, and add the header `X-Debug-URL` to their responses."""
    # {% if cookiecutter.__cache %}
    cache_calls.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__sql %}
    queries.init_app(app)
    # {% elif cookiecutter.__nosql %}
    operations.init_app(app)
    # {% endif %}
    templates.init_app(app)
    request_started.connect(store_endpoint, app)
    records: deque[Record] = deque(maxlen=MAX_REQUESTS)
    app.extensions["debug_panel"] = records
    app.wsgi_app = RecordMiddleware(app.wsgi_app, records)  # type: ignore[method-assign]
    app.jinja_env.globals["debug_endpoint"] = "debug_panel.list_requests"
    app.register_blueprint(blueprint)


def store_endpoint(_: Flask, **__: Any) -> None:
    """Store the endpoint of the request."""
    if record := current_record.get():
        record.endpoint = request.endpoint or ""


class RecordMiddleware:
    """WSGI middleware: record each request, the newest first."""

    def __init__(self, wsgi_app: WSGIApplication, records: deque[Record]) -> None:
        self.wsgi_app = wsgi_app
        self.records = records

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, which sets the request ID in `environ`."""
        record = Record(environ)
        current_record.set(record)
        logs.line_listener.set(record.add_line)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            record.status = int(status[:3])
            if record.is_shown:
                prefix, request_id = environ.get("SCRIPT_NAME", ""), environ["HTTP_X_REQUEST_ID"]
                headers.append(("X-Debug-URL", f"{prefix}/debug/requests/{request_id}"))
            return start_response(status, headers, exc_info)

        try:
            return self.wsgi_app(environ, start)
        finally:
            record.end(environ)
            if record.is_shown:
                self.records.appendleft(record)


@blueprint.get("/requests")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def list_requests() -> str:
    """Show the last requests of this process."""
    return render_template("debug_requests.html", records=[*current_app.extensions["debug_panel"]])


@blueprint.get("/requests/<request_id>")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def show_request(request_id: str) -> str:
    """Show what a request did."""
    records = {record.request_id: record for record in [*current_app.extensions["debug_panel"]]}
    if request_id not in records:
        abort(404, f"Only the last {MAX_REQUESTS} requests since the last reload are recorded.")
    return render_template("debug_request.html", record=records[request_id])


@blueprint.get("/debug_panel.css")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def style() -> Response:
    """Return the style sheet. A static folder would be part of `make build`."""
    return send_from_directory(blueprint.root_path, "debug_panel.css")
