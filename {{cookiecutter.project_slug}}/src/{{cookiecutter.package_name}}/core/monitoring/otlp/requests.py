"""Spans and metrics of requests."""

from collections.abc import Mapping
from http import HTTPStatus
from random import getrandbits
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import Observation
from opentelemetry.trace import Span, SpanKind, get_current_span

from ..conventions import (
    BUCKETS,
    # {% if cookiecutter.__cache %}
    CACHE_RESULTS,
    # {% endif %}
    label_method,
)
# {% if cookiecutter.__sql %}
from .database import observe_pool
# {% endif %}
from .instruments import Counter, Histogram
from .tracing import NO_PARENT, SPAN_KEY, UnsampledSpan, propagator, tracing

# Requests for these paths have no span.
UNTRACED_PREFIX = "/health/"
# The key in `environ` of the span and of the token that ends its context.
SPAN = "opentelemetry.span"

REQUESTS = Histogram(
    "http.server.request.duration",
    "Duration of requests.",
    ["http.request.method", "http.route", "http.response.status_code"],
    BUCKETS,
)
REJECTED = Counter(
    "http.server.rejected_requests",
    "Requests that got 503 because no thread was free or their time was up.",
    [],
    "{request}",
)
# {% if cookiecutter.__cache %}
CACHE = Counter(
    "cache.operations", "Values that were read from the cache.", ["cache.result"], "{operation}"
)
# {% endif %}


def serve(app: Flask, *, threads: int) -> None:
    """Export the metrics of this process, which is about to get its first request."""
    if not tracing.sdk:
        return
    guard = app.extensions["worker_threads"]
    meter = tracing.sdk.start_metrics()
    meter.create_observable_up_down_counter(
        "http.server.active_requests",
        [lambda _: [Observation(len(guard.running))]],
        "{request}",
        "Requests that run.",
    )
    # {% if cookiecutter.__sql %}
    observe_pool(meter, app.extensions["database"].kw["bind"])
    # {% endif %}
    meter.create_observable_up_down_counter(
        "http.server.threads",
        [lambda _: [Observation(threads)]],
        "{thread}",
        "Limit of running requests.",
    )


def request_rejected() -> None:
    """Count a request that was not answered in time."""
    REJECTED.record(1)


def request_started(environ: WSGIEnvironment) -> None:
    """Start the span of a request."""
    if not tracing.sdk:
        return
    if environ["PATH_INFO"].startswith(UNTRACED_PREFIX):
        span: Span = UnsampledSpan(getrandbits(128))
    elif tracing.trusts_callers and "HTTP_TRACEPARENT" in environ:
        headers = {"traceparent": environ["HTTP_TRACEPARENT"]}
        headers["tracestate"] = environ.get("HTTP_TRACESTATE", "")
        caller = get_current_span(propagator.extract(headers, NO_PARENT))
        span = tracing.start_span(SpanKind.SERVER, caller.get_span_context())
    else:
        span = tracing.start_span(SpanKind.SERVER)
    environ[SPAN] = span, attach(Context({SPAN_KEY: span}))


def request_finished(
    environ: WSGIEnvironment,
    route: str,
    status: int,
    seconds: float,
    metrics: Mapping[str, float],
) -> None:
    """Count a request, and end its span; `metrics` are those of its log line."""
    if SPAN not in environ:
        return
    span, token = environ[SPAN]
    detach(token)
    method = label_method(environ["REQUEST_METHOD"])
    REQUESTS.record(seconds, method, route, status)
    # {% if cookiecutter.__cache %}
    if metrics:
        count_cache_operations(metrics)
    # {% endif %}
    if span.is_recording():
        end_span(environ, span, method, route, status)


# {% if cookiecutter.__cache %}
def count_cache_operations(metrics: Mapping[str, float]) -> None:
    """Count the cache operations of a log line."""
    for name in CACHE_RESULTS.keys() & metrics.keys():
        CACHE.record(metrics[name], CACHE_RESULTS[name])


# {% endif %}
def end_span(environ: WSGIEnvironment, span: Any, method: str, route: str, status: int) -> None:
    """End the span of a request. Its name is the method if there is no route."""
    name = "HTTP" if method == "_OTHER" else method
    attributes = span.attributes
    attributes["http.request.method"] = method
    attributes["http.response.status_code"] = status
    attributes["url.scheme"] = environ["wsgi.url_scheme"]
    if route:
        name = f"{name} {route}"
        attributes["http.route"] = route
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and "error.type" not in attributes:
        span.fail(str(status))
    span.name = name
    span.end()


def record_exception(_app: Flask, exception: Exception) -> None:
    """Add an exception that no view handled to the span of the request."""
    get_current_span().record_exception(exception)
