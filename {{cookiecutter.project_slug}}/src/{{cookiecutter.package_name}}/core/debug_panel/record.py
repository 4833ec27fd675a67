"""The record of a request: tables with a limited number of rows, and shortened texts."""

from contextvars import ContextVar
from datetime import datetime
from inspect import currentframe
from pathlib import Path
from time import perf_counter
from typing import Any
from wsgiref.types import WSGIEnvironment

from structlog.typing import EventDict

from ..logs import request_metrics

MAX_ROWS = 200
MAX_TEXT = 4000

# Requests for endpoints with one of these parts are not recorded.
HIDDEN = {"debug_panel", "health", "static"}

PACKAGE = Path(__file__).parents[2]
OWN = f"{PACKAGE}/core/debug_panel/"
MIDDLEWARE = f"{OWN}__init__.py"


class Record:
    """What a request did. Times are in milliseconds, those of rows since its start."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.method = environ["REQUEST_METHOD"]
        self.path = shorten(environ["PATH_INFO"])
        self.started_at = datetime.now().astimezone()
        self.started = perf_counter()
        self.request_id = ""
        self.endpoint = ""
        # An exception that the debugger shows sends no other status.
        self.status = 500
        self.duration_ms = 0.0
        self.metrics: dict[str, float] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.omitted: dict[str, int] = {}
        # Templates may render others.
        self.templates_started: list[float] = []

    @property
    def is_shown(self) -> bool:
        """Return whether the request is recorded, unlike those for static files."""
        return HIDDEN.isdisjoint(self.endpoint.split("."))

    def elapsed_ms(self) -> float:
        """Return the time since the start of the request."""
        return round((perf_counter() - self.started) * 1000, 2)

    def add(self, table: str, **row: Any) -> None:
        """Add a row to a table; count it only if the table is full."""
        rows = self.tables.setdefault(table, [])
        if len(rows) < MAX_ROWS:
            rows.append({"at": self.elapsed_ms(), **row})
        else:
            self.omitted[table] = self.omitted.get(table, 0) + 1

    def add_line(self, line: EventDict) -> None:
        """Add a log line."""
        values = {name: line.pop(name, "") for name in ("level", "event")}
        hidden = ("request_id", "timestamp")
        rest = (f"{name}={value}" for name, value in line.items() if name not in hidden)
        self.add("Log", **values, values=shorten("\n".join(rest)))

    def end(self, environ: WSGIEnvironment) -> None:
        """Store the duration, the request ID, and the metrics of the log."""
        self.duration_ms = self.elapsed_ms()
        self.request_id = environ["HTTP_X_REQUEST_ID"]
        self.metrics = request_metrics.get() or {}


current_record: ContextVar[Record | None] = ContextVar("current_record", default=None)


def add_row(table: str, started: float, **row: Any) -> None:
    """Add a row with its duration since `started` to the record of the current request."""
    if record := current_record.get():
        record.add(table, ms=round((perf_counter() - started) * 1000, 2), **row)


def find_origin() -> str:
    """Return the file and line that runs now: of the project's code or templates, else of `core`.

    The search ends at the middleware, whose callers are the same for all requests.
    """
    frame, origin = currentframe(), ""
    while frame and (path := frame.f_code.co_filename) != MIDDLEWARE:
        if path.startswith(f"{PACKAGE}/") and not path.startswith(OWN):
            line, template = frame.f_lineno, frame.f_globals.get("__jinja_template__")
            if template:
                line = template.get_corresponding_lineno(line)
            place = f"{Path(path).relative_to(PACKAGE)}:{line}"
            if not place.startswith("core/"):
                return place
            origin = origin or place
        frame = frame.f_back
    return origin


def shorten(text: str) -> str:
    """Return a text, or the beginning and the end of a long one."""
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else f"{text[:half]} … {text[-half:]}"
