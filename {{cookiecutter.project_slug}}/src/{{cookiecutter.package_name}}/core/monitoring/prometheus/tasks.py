"""Metrics of background jobs, and of their queues, which the broker reports."""

from collections.abc import Iterator, Mapping
from time import perf_counter, time
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask
from prometheus_client import Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily

from ....config import get_settings
from ...health import HealthCheck, wait
from . import endpoint, exporter, start
# {% if cookiecutter.__cache %}
from .cache import count_cache_operations
# {% endif %}
from .shared_files import Counter, Gauge, Histogram, get_value, render

# Seconds that a scrape waits for the broker.
BROKER_TIMEOUT = 3

STARTED = Counter("tasks_started", "Started attempts of jobs.", ["task"])
FINISHED = Counter("tasks_finished", "Ended attempts of jobs.", ["task", "outcome"])
OUTCOMES = ("succeeded", "failed", "retried")
DURATION = Histogram(
    "task_duration_seconds",
    "Duration of attempts.",
    ["task"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
SCHEDULER = get_value(
    Gauge(
        "task_scheduler_last_run_timestamp_seconds",
        "When a scheduler last checked its schedule.",
        multiprocess_mode="livemax",
    )
)
CIRCUIT = get_value(
    Gauge(
        "task_broker_circuit_open",
        "1 if the last call of the broker failed in a process.",
        multiprocess_mode="livemax",
    )
)


class QueueCollector:
    """The metrics of the queues, measured at each scrape, and missing while the broker hangs."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.check = HealthCheck("queues", self.measure, required=False)
        self.sizes: dict[str, int] = {}
        self.ages: dict[str, float] = {}

    def measure(self) -> None:
        """Ask the broker."""
        with self.app.app_context():
            broker = self.app.extensions["tasks"]
            self.sizes, self.ages = broker.queue_sizes(), broker.queue_ages()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; scrapes during a measurement share its result."""
        result = wait(self.check.start(), perf_counter() + BROKER_TIMEOUT, BROKER_TIMEOUT)
        is_up = result["status"] == "ok"
        yield GaugeMetricFamily("task_broker_up", "1 if the broker responded.", value=is_up)
        if not is_up:
            return
        length = GaugeMetricFamily("task_queue_length", "Waiting jobs.", labels=["queue"])
        dead = GaugeMetricFamily("task_dead_letters", "Failed jobs.", labels=["queue"])
        for name, size in self.sizes.items():
            (dead if name == "failed" else length).add_metric([name], size)
        age = GaugeMetricFamily(
            "task_queue_oldest_age_seconds", "Age of the oldest waiting job.", labels=["queue"]
        )
        for name, seconds in self.ages.items():
            age.add_metric([name], seconds)
        yield from (length, dead, age)


def serve_process(app: Flask, process: str) -> None:
    """Share the metrics of a worker or a scheduler, and serve them; not in tests."""
    if app.testing:
        return
    settings = get_settings(app)
    start(settings, process)
    queues = QueueCollector(app)
    networks = endpoint.parse_networks(settings.METRICS_ALLOWED_NETWORKS)
    exporter.serve(
        settings.METRICS_BIND,
        endpoint.MetricsEndpoint(not_found, networks, lambda: render() + generate_latest(queues)),
    )


def not_found(_: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Respond to other paths than `/metrics`."""
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"Not found\n"]


def task_started(name: str) -> None:
    """Count an attempt that starts."""
    STARTED.labels(name).inc()
    for outcome in OUTCOMES:
        # Prometheus sees an increase only if it has seen the 0 before.
        FINISHED.labels(name, outcome)


def task_ended(name: str, seconds: float, metrics: Mapping[str, float]) -> None:
    """Observe an attempt; `metrics` are those of its log line."""
    DURATION.labels(name).observe(seconds)
    # {% if cookiecutter.__cache %}
    count_cache_operations(metrics)
    # {% endif %}


def task_finished(name: str, outcome: str) -> None:
    """Count an attempt that succeeded, failed for good or will be retried."""
    FINISHED.labels(name, outcome).inc()


def scheduler_ran() -> None:
    """Record that a scheduler is running."""
    SCHEDULER.set(time())


def broker_called(*, failed: bool) -> None:
    """Record whether the circuit breaker is open."""
    CIRCUIT.set(failed)
