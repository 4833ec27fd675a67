"""Metrics for Prometheus: their endpoint, and the files with which processes share them."""

import os
import platform
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from flask import Flask
from werkzeug.serving import is_running_from_reloader

from ....config import Settings, get_settings
from . import endpoint, requests
from .requests import request_finished, request_rejected
from .shared_files import Counter, Gauge, Histogram, render, shared_values

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "init_app",
    "request_finished",
    "request_rejected",
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


def init_app(app: Flask) -> None:
    """Serve the metrics at `/metrics`, those of all processes of a production server."""
    settings = get_settings(app)
    if not app.testing and not is_running_from_reloader():
        # `make run` and tests have one process, whose memory has its metrics. `make run-prod` has
        # several, also in debug mode.
        app.extensions["monitoring"] = settings
    app.wsgi_app = endpoint.MetricsEndpoint(  # type: ignore[method-assign]
        app.wsgi_app,
        endpoint.parse_networks(settings.METRICS_ALLOWED_NETWORKS),
        partial(render_web, app),
    )


def start_web(app: Flask) -> None:
    """Share the metrics of this process with others that serve requests, unless it is alone."""
    if settings := app.extensions.get("monitoring"):
        start(settings, "web")


def render_web(app: Flask) -> bytes:
    """Return the metrics, also of a process that has not served a request."""
    start_web(app)
    requests.observe_finished()
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
    requests.start(app.extensions["worker_threads"], threads)
