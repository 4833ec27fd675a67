"""Logs on standard output: JSON, or text in debug; a request's lines all carry its id."""

import json
import logging
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from random import getrandbits
from time import gmtime, perf_counter, strftime, time_ns
from typing import Any, TextIO, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec
import structlog
from flask import Flask
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.typing import EventDict

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
QUIET = "/health/"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}

# What msgspec raises for keys that are not text, and for text that is not Unicode.
UNWRITABLE = (TypeError, UnicodeEncodeError)

figures: ContextVar[dict[str, float] | None] = ContextVar("figures", default=None)


class StandardOutput:
    """What `sys.stdout` is at the moment of writing: servers and tests replace it."""

    def write(self, text: str) -> int:
        """Write text."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Let nothing wait in a buffer."""
        sys.stdout.flush()


STANDARD_OUTPUT = cast("TextIO", StandardOutput())


def init_app(app: Flask) -> None:
    """Set up logging for the process, and log each request of the application."""
    configure(app.config["LOG_LEVEL"], is_readable=app.debug)
    app.wsgi_app = RequestLog(  # type: ignore[method-assign]
        app.wsgi_app,
        trusts_proxy=app.config["TRUSTED_PROXY_HOPS"] > 0,
    )


def configure(level: str, *, is_readable: bool) -> None:
    """Give structlog and the standard library one format; `level` is the lowest that is written."""
    common: list[structlog.typing.Processor] = [
        merge_contextvars,
        structlog.processors.add_log_level,
        add_time,
    ]
    final: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if is_readable
        else [structlog.processors.format_exc_info, write_json]
    )
    structlog.configure(
        processors=common + final,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(STANDARD_OUTPUT),
    )
    handler = logging.StreamHandler(STANDARD_OUTPUT)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        ),
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The development server would log each request a second time.
    logging.getLogger("werkzeug").addFilter(lambda record: "HTTP/1" not in record.getMessage())


def add(name: str, amount: float) -> None:
    """Add to a figure of the request's log line; outside a request nothing happens."""
    found = figures.get()
    if found is not None:
        found[name] = round(found.get(name, 0) + amount, 2)


def add_time(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say when it was, in UTC to the microsecond (RFC 3339); most lines share their second."""
    seconds, rest = divmod(time_ns(), 1_000_000_000)
    event["timestamp"] = f"{write_second(seconds)}.{rest // 1000:06}Z"
    return event


@lru_cache(maxsize=1)
def write_second(seconds: int) -> str:
    """Write a moment without its fraction."""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def write_json(_logger: object, _method: str, event: EventDict) -> str:
    """Write a log line, whatever is in it: a value that JSON does not know becomes its `repr`."""
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UNWRITABLE:
        return json.dumps(event, default=repr, skipkeys=True)


def write(level: str, line: Any) -> None:
    """Write as structlog's loggers do, but past them: for what each request writes."""
    with suppress(structlog.DropEvent):
        for process in structlog.get_config()["processors"]:
            line = process(None, level, line)
        STANDARD_OUTPUT.write(f"{line}\n")
        STANDARD_OUTPUT.flush()


class RequestLog:
    """WSGI middleware: gives each request an id, sends it back, and logs one line a request."""

    def __init__(self, wsgi_app: WSGIApplication, *, trusts_proxy: bool) -> None:
        self.wsgi_app = wsgi_app
        self.trusts_proxy = trusts_proxy
        self.log = structlog.get_logger().bind()

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answer as the wrapped application does; `duration_ms` ends before the body is sent."""
        started = perf_counter()
        request_id = self.identify(environ)
        environ["HTTP_X_REQUEST_ID"] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        more: dict[str, float] = {}
        figures.set(more)
        status = 500

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            headers.append(("X-Request-ID", request_id))
            return start_response(line, headers, exc_info)

        try:
            return self.wsgi_app(environ, start)
        finally:
            # WSGI has bytes as Latin-1 (PEP 3333).
            path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
            level = "debug" if path.startswith(QUIET) else "info"
            if self.log.is_enabled_for(LEVELS[level]):
                line = {
                    "event": "request",
                    "method": environ["REQUEST_METHOD"],
                    "path": path,
                    "status": status,
                    "duration_ms": round((perf_counter() - started) * 1000, 2),
                }
                write(level, line | more)

    def identify(self, environ: WSGIEnvironment) -> str:
        """Take over a trusted proxy's id when it is one, else make one."""
        given = environ.get("HTTP_X_REQUEST_ID", "")
        if self.trusts_proxy and REQUEST_ID.fullmatch(given):
            return str(given)
        # It is no secret, and the system's random numbers let another thread go first.
        return f"{getrandbits(128):032x}"
