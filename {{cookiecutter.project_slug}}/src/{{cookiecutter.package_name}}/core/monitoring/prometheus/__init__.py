"""Metrics for Prometheus: of requests, and what all processes have in common.

Names, units and buckets are those of OpenTelemetry's semantic conventions for HTTP. Labels have few
values: routes and not paths.
"""

import functools
import os
import platform
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from wsgiref.types import WSGIEnvironment

from flask import Flask

from ....config import Settings, get_settings
from ..conventions import BUCKETS, get_method
from . import endpoint
# {% if cookiecutter.__cache %}
from .cache import count_cache_operations
# {% endif %}
from .shared_files import Counter, Gauge, Histogram, get_value, render, shared_values

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "init_app",
    "request_finished",
    "request_rejected",
    "request_started",
    "serve",
    "start",
]

BUILD = Gauge(
    "app_build_info",
    "Always 1; the labels are the information.",
    ["version", "python_version"],
    multiprocess_mode="livemax",
)
STARTS = Counter("process_starts", "Started processes.", ["process"])
REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of requests.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=BUCKETS,
)
ACTIVE = get_value(
    Gauge(
        "http_server_active_requests",
        "Requests that run or wait for a thread.",
        multiprocess_mode="livesum",
    )
)
THREADS = Gauge(
    "http_server_threads",
    "Limit of running requests, of all processes that serve requests.",
    multiprocess_mode="livesum",
)
REJECTED = Counter(
    "http_server_rejected_requests",
    "Requests that got 503 because no thread was free or their time was up.",
)
QUEUED = Histogram(
    "http_server_queue_duration_seconds",
    "Duration of waiting for a thread, of requests that waited.",
    buckets=BUCKETS,
)
# {% if cookiecutter.__database %}
QUERIES = Histogram(
    "http_server_request_queries",
    "Number of operations of the database in a request.",
    ["http_route"],
    buckets=(0, 1, 2, 5, 10, 20, 50, 100),
)
# {% endif %}

# Faster than `labels`, which converts and compares.
request_histogram = functools.cache(REQUESTS.labels)
# {% if cookiecutter.__database %}
query_histogram = functools.cache(QUERIES.labels)
# {% endif %}


def init_app(app: Flask) -> None:
    """Serve the metrics at `/metrics`, in production those of all processes."""
    settings = get_settings(app)
    if not app.debug and not app.testing:
        # Development and tests have one process, whose memory has its metrics.
        app.extensions["monitoring"] = settings
    app.wsgi_app = endpoint.MetricsEndpoint(  # type: ignore[method-assign]
        app.wsgi_app,
        endpoint.parse_networks(settings.METRICS_ALLOWED_NETWORKS),
        partial(render_web, app),
    )


def start_web(app: Flask) -> None:
    """Share the metrics of this process with others that serve requests, in production."""
    if settings := app.extensions.get("monitoring"):
        start(settings, "web")


def render_web(app: Flask) -> bytes:
    """Return the metrics, also of a process that has not served a request."""
    start_web(app)
    return render()


def start(settings: Settings, process: str) -> None:
    """Share the metrics of this process with others of its kind: web, worker or scheduler.

    The first call in a process, or in the process that it was forked from, decides.
    """
    folder = Path(settings.METRICS_FOLDER or gettempdir())
    name = f"{{ cookiecutter.project_slug }}-metrics-{process}-{os.getuid()}"
    if shared_values.start(folder / name):
        BUILD.labels(settings.APP_VERSION, platform.python_version()).set(1)
        STARTS.labels(process).inc()


def serve(app: Flask, *, threads: int) -> None:
    """Share the metrics of a process that serves requests, before its first request."""
    start_web(app)
    THREADS.set(threads)


def request_started(_environ: WSGIEnvironment) -> None:
    """Count a request that runs or waits."""
    with shared_values.lock:
        ACTIVE.numbers[0] += 1


def request_rejected() -> None:
    """Count a request that was not answered in time."""
    REJECTED.inc()


def request_finished(
    environ: WSGIEnvironment,
    route: str,
    status: int,
    seconds: float,
    metrics: Mapping[str, float],
) -> None:
    """Observe a request; `metrics` are those of its log line."""
    requests = request_histogram(get_method(environ), route, status)
    # {% if cookiecutter.__database %}
    queries = query_histogram(route)
    # {% endif %}
    # Once for all of them, because this happens in each request.
    with shared_values.lock:
        ACTIVE.numbers[0] -= 1
        requests.add(seconds)
        # {% if cookiecutter.__database %}
        queries.add(metrics.get("queries", 0))
        # {% endif %}
    if metrics:
        count_operations(metrics)


def count_operations(metrics: Mapping[str, float]) -> None:
    """Observe what only some requests do."""
    if queue_ms := metrics.get("queue_ms"):
        QUEUED.observe(queue_ms / 1000)
    # {% if cookiecutter.__cache %}
    count_cache_operations(metrics)
    # {% endif %}
