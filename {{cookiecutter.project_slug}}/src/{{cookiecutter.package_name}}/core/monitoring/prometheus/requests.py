"""Metrics of requests.

Names, units and buckets are those of OpenTelemetry's semantic conventions. Labels have few
values: routes and not paths.
"""

import atexit
import functools
import os
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.util import Finalize
from threading import Thread
from time import sleep
from typing import Any
from wsgiref.types import WSGIEnvironment

from ..conventions import BUCKETS, label_method
# {% if cookiecutter.__cache %}
from .cache import count_cache_operations
# {% endif %}
from .shared_files import Counter, Gauge, Histogram

# Seconds between two observations in a process that serves requests.
INTERVAL = 0.5
# Number of ended requests that are observed without waiting for that.
BATCH = 1000

REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of requests.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=BUCKETS,
)
ACTIVE = Gauge(
    "http_server_active_requests",
    "Requests that run or wait for a thread.",
    multiprocess_mode="livesum",
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

# Ended requests that are not observed yet. Together they take a third of the time: in between, a
# request replaces the code and the values of metrics in the processor's cache.
finished: deque[tuple[str, str, int, float, Mapping[str, float]]] = deque()
os.register_at_fork(after_in_child=finished.clear)


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
    """Note a request for `observe_finished`; `metrics` are those of its log line."""
    finished.append((environ["REQUEST_METHOD"], route, status, seconds, metrics))
    if len(finished) >= BATCH:
        observe_finished()


def observe_finished() -> None:
    """Observe the requests that have ended since the last call."""
    durations: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
    # {% if cookiecutter.__database %}
    queries: defaultdict[str, list[float]] = defaultdict(list)
    # {% endif %}
    ended = []
    # Another thread may take some of them.
    with suppress(IndexError):
        while finished:
            ended.append(finished.popleft())
    for method, route, status, seconds, metrics in ended:
        durations[label_method(method), route, status].append(seconds)
        # {% if cookiecutter.__database %}
        queries[route].append(metrics.get("queries", 0))
        # {% endif %}
        if metrics:
            count_operations(metrics)
    for labels, amounts in durations.items():
        request_histogram(*labels).observe_all(amounts)
    # {% if cookiecutter.__database %}
    for route, amounts in queries.items():
        query_histogram(route).observe_all(amounts)
    # {% endif %}


def count_operations(metrics: Mapping[str, float]) -> None:
    """Observe what only some requests do."""
    if queue_ms := metrics.get("queue_ms"):
        QUEUED.observe(queue_ms / 1000)
    # {% if cookiecutter.__cache %}
    count_cache_operations(metrics)
    # {% endif %}


def start(guard: Any, threads: int) -> None:
    """Observe the requests of this process regularly, and at its end."""
    THREADS.set(threads)
    Thread(target=observe_regularly, args=[guard.semaphore], daemon=True).start()
    atexit.register(observe_finished)
    # Processes of `multiprocessing` call no `atexit` functions.
    Finalize(None, observe_finished, exitpriority=0)


def observe_regularly(semaphore: Any) -> None:
    """Observe requests that run or wait, and those that have ended."""
    while True:
        ACTIVE.set(semaphore.active + len(semaphore.waiting))
        observe_finished()
        sleep(INTERVAL)
