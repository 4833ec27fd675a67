"""Logging with structlog to standard output: JSON, or text in debug mode.

All log lines of a request have its request ID.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from random import getrandbits
from time import perf_counter, time_ns
from typing import Any, TextIO, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec
import structlog
from flask import Flask
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from ..config import get_settings
# {% if cookiecutter.__monitoring %}
from . import monitoring
# {% endif %}

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Requests for these paths are logged at the level DEBUG.
UNLOGGED_PREFIX = "/health/"

# Exceptions of msgspec for keys that are not text, and for text that is not Unicode.
ENCODE_ERRORS = (TypeError, UnicodeEncodeError)

request_metrics: ContextVar[dict[str, float] | None] = ContextVar("request_metrics", default=None)

# In debug mode: a function that gets a copy of each log line of a request.
line_listener: ContextVar[Callable[[EventDict], None] | None] = ContextVar(
    "line_listener", default=None
)


class Stdout:
    """The current `sys.stdout`, which servers and tests replace."""

    def write(self, text: str) -> int:
        """Write text."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Flush the buffer."""
        sys.stdout.flush()


STDOUT = cast("TextIO", Stdout())


def init_app(app: Flask) -> None:
    """Configure logging for the process, and log each request."""
    settings = get_settings(app)
    configure(settings.LOG_LEVEL, pretty=app.debug)
    app.wsgi_app = RequestLogMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, trust_request_id=settings.TRUSTED_PROXY_HOPS > 0
    )


def configure(
    level: str, *, pretty: bool, processors: Sequence[structlog.typing.Processor] = ()
) -> None:
    """Use one format for structlog and the standard library's logging, from a level upward.

    `processors` are called for each line before it is formatted.
    """
    shared: list[structlog.typing.Processor] = [
        merge_contextvars,
        structlog.processors.add_log_level,
        add_timestamp,
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        monitoring.add_trace_context,
        # {% endif %}
        *processors,
    ]
    renderers: list[structlog.typing.Processor] = (
        [notify_listener, show_text, structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if pretty
        else [render_json]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(STDOUT),
    )
    handler = logging.StreamHandler(STDOUT)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[ProcessorFormatter.remove_processors_meta, *renderers],
        ),
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The development server logs each request, too.
    logging.getLogger("werkzeug").addFilter(lambda record: "HTTP/1" not in record.getMessage())


def add_timestamp(_: Any, __: str, event: EventDict) -> EventDict:
    """Add the time as structlog's `TimeStamper` does, which takes three times as long."""
    seconds, microseconds = divmod(time_ns() // 1000, 1_000_000)
    event["timestamp"] = f"{format_second(seconds)}.{microseconds:06}Z"
    return event


@lru_cache(maxsize=1)
def format_second(seconds: int) -> str:
    """Return the date and time of a second since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def notify_listener(logger: Any, name: str, event: EventDict) -> EventDict:
    """Call the listener of the request with a copy of a log line, in which exceptions are text."""
    if listener := line_listener.get():
        listener(dict(structlog.processors.format_exc_info(logger, name, {**event})))
    return event


def show_text(_: Any, __: str, event: EventDict) -> EventDict:
    """Show the text of a mail on lines of its own, so that its links can be copied."""
    if "text" in event:
        # The renderer writes this value as it is, below the line.
        event["stack"] = f"{event.pop('text')}\n"
    return event


def render_json(logger: Any, name: str, event: EventDict) -> str:
    """Return a log line as JSON; a value that JSON has no type for is written as its `repr`."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, name, event)
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except ENCODE_ERRORS:
        return json.dumps(event, default=repr, skipkeys=True)


def add_metric(name: str, amount: float) -> None:
    """Add an amount to a metric in the request's log line; do nothing outside of requests."""
    metrics = request_metrics.get()
    if metrics is not None:
        metrics[name] = round(metrics.get(name, 0) + amount, 2)


class RequestLogMiddleware:
    """WSGI middleware: set the request ID, return it in `X-Request-ID`, and log the request."""

    def __init__(self, wsgi_app: WSGIApplication, *, trust_request_id: bool) -> None:
        self.wsgi_app = wsgi_app
        self.trust_request_id = trust_request_id
        log = structlog.get_logger().bind()
        levels = {"debug": logging.DEBUG, "info": logging.INFO}
        self.levels = {name for name, level in levels.items() if log.is_enabled_for(level)}
        self.processors = structlog.get_config()["processors"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application; `duration_ms` does not include sending the body."""
        started = perf_counter()
        request_id = self.get_request_id(environ)
        environ["HTTP_X_REQUEST_ID"] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        metrics: dict[str, float] = {}
        request_metrics.set(metrics)
        status = 500
        # {% if cookiecutter.__monitoring %}
        route = ""
        # {% endif %}
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        monitoring.request_started(environ)
        # {% endif %}

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            # {% if cookiecutter.__monitoring %}
            nonlocal route
            route = monitoring.get_route(environ)
            # {% endif %}
            headers.append(("X-Request-ID", request_id))
            return start_response(line, headers, exc_info)

        try:
            return self.wsgi_app(environ, start)
        finally:
            # WSGI passes bytes as Latin-1 text (PEP 3333).
            path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
            seconds = perf_counter() - started
            is_unlogged = path.startswith(UNLOGGED_PREFIX)
            self.write(
                "debug" if is_unlogged else "info",
                {
                    "method": environ["REQUEST_METHOD"],
                    "path": path,
                    "status": status,
                    "duration_ms": round(seconds * 1000, 2),
                    **metrics,
                    "event": "request",
                },
            )
            # {% if cookiecutter.__monitoring %}
            monitoring.request_finished(environ, route, status, seconds, metrics)
            # {% endif %}

    def write(self, level: str, event: Any) -> None:
        """Write a line as the loggers of structlog do, without their calls and copies."""
        if level not in self.levels:
            return
        try:
            for process in self.processors:
                event = process(None, level, event)
        except structlog.DropEvent:
            return
        sys.stdout.write(f"{event}\n")
        sys.stdout.flush()

    def get_request_id(self, environ: WSGIEnvironment) -> str:
        """Return the ID that a trusted proxy sent, or a new one."""
        sent: str = environ.get("HTTP_X_REQUEST_ID", "")
        if self.trust_request_id and REQUEST_ID.fullmatch(sent):
            return sent
        # It is not a secret. `os.urandom` would release the GIL.
        return f"{getrandbits(128):032x}"
