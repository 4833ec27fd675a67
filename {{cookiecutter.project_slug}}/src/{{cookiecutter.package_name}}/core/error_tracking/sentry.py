"""Sentry's client: options, contents of reports, flush.

A report contains no body, cookie, header, query string or local variable.
"""

import logging
from multiprocessing.util import Finalize

import sentry_sdk
# {% if cookiecutter.__auth %}
from flask import g, has_request_context, request
# {% else %}
from flask import has_request_context, request
# {% endif %}
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint
from structlog.typing import EventDict, WrappedLogger
from structlog_sentry import SentryProcessor

from ...config import Settings, SettingsError

# Values of the log line that a report can be searched for.
TAGS = [
    "request_id",
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    "trace_id",
    # {% endif %}
    # {% if cookiecutter.__tasks %}
    "job",
    "job_id",
    "attempt",
    # {% endif %}
]

# {% if cookiecutter.__celery %}
# Loggers that repeat an error: Celery's, for a job that exceeds its time limit.
REPEATING_LOGGERS = ["celery.worker.request", "multiprocessing"]

# {% endif %}
# Levels of reported log lines.
LEVELS = {"error", "critical"}
# Seconds that a process may take to send its last reports when it ends.
SHUTDOWN_TIMEOUT = 2


class ErrorProcessor(SentryProcessor):
    """Reports errors. It leaves other log lines alone, which the base class copies first."""

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        """Report a log line if it is an error."""
        return super().__call__(logger, name, event) if event["level"] in LEVELS else event


def start(settings: Settings) -> ErrorProcessor:
    """Start the client for this process and its forks; return the processor for log lines.

    Its integrations with Flask and other libraries are off: they cost time in each request, and
    report the errors of the log a second time.
    """
    try:
        sentry_sdk.init(
            dsn=settings.SENTRY_DSN,
            release=settings.SENTRY_RELEASE or None,
            environment=settings.SENTRY_ENVIRONMENT,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                AtexitIntegration(callback=lambda *_: None),
                DedupeIntegration(),
                ExcepthookIntegration(),
                ThreadingIntegration(propagate_scope=False),
            ],
            before_send=add_request,
            max_breadcrumbs=0,
            max_request_body_size="never",
            include_local_variables=False,
            # Sentry's counts of requests and of reports, which the other services do not accept.
            auto_session_tracking=False,
            send_client_reports=False,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
            # With the package `brotli` installed it would use that, which not all services accept.
            # The member of its type, `CompressionAlgo.GZIP`, turns compression off (2.75.0).
            _experiments={"transport_compression_algo": "gzip"},  # type: ignore[typeddict-item]
        )
    except ValueError as error:
        message = f"SENTRY_DSN, HTTP_PROXY or HTTPS_PROXY is not valid: {error}"
        raise SettingsError(message) from error
    # Processes of `multiprocessing` call no `atexit` functions.
    Finalize(None, flush, exitpriority=0)
    return ErrorProcessor(
        level=logging.CRITICAL + 1,
        event_level=logging.ERROR,
        as_context=False,
        tag_keys=TAGS,
        # {% if cookiecutter.__celery %}
        ignore_loggers=REPEATING_LOGGERS,
        # {% endif %}
    )


def flush() -> None:
    """Send waiting reports, within `SHUTDOWN_TIMEOUT`."""
    sentry_sdk.flush(SHUTDOWN_TIMEOUT)


def add_request(event: Event, _hint: Hint) -> Event:
    """Add method, path and route of the request and the ID of the user, and remove parameters.

    An exception here would drop the report without a message.
    """
    for exception in event.get("exception", {}).get("values", []):
        # Further lines quote values: of a row that violates a constraint, of the statement.
        exception["value"] = str(exception.get("value") or "").partition("\n")[0]
    if has_request_context():
        event["request"] = {"method": request.method, "url": request.base_url}
        if request.url_rule:
            event["transaction"] = f"{request.method} {request.url_rule.rule}"
            event["transaction_info"] = {"source": "route"}
        # {% if cookiecutter.__auth %}
        if identity := g.get("identity"):
            event["user"] = {"id": identity.id}
        # {% endif %}
    return event
