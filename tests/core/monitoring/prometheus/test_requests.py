"""Metrics of requests, compared before and after them."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_ident

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.config import load_settings
# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.access import allow_anonymous
# {% endif %}
from {{ cookiecutter.package_name }}.core.monitoring.prometheus import (
    requests,
)
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.shared_files import (
    SharedValues,
)
from {{ cookiecutter.package_name }}.core.worker_threads import (
    FairSemaphore,
    WorkerGuard,
)

REQUESTS = "http_server_request_duration_seconds_count"
LABELS = {"http_request_method": "GET", "http_response_status_code": "200"}


def value(name: str, **labels: str) -> float:
    """Return the value of a metric in this process."""
    requests.observe_finished()
    return REGISTRY.get_sample_value(name, labels) or 0


def count(method: str, route: str, status: str) -> float:
    """Return the number of requests."""
    labels = {"http_request_method": method, "http_route": route}
    return value(REQUESTS, http_response_status_code=status, **labels)


def series() -> set[tuple[str, ...]]:
    """Return the labels of all requests."""
    requests.observe_finished()
    return {
        tuple(sample.labels.values())
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == REQUESTS
    }


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """Client of an application with a view that has a parameter."""
    app = make_app(RATE_LIMIT_WRITES="100000/second")

    @app.get("/items/<int:item>")
    # {% if cookiecutter.__auth %}
    @allow_anonymous
    # {% endif %}
    def get_item(item: int) -> str:
        if not item:
            raise ValueError
        return str(item)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client()


def test_route_is_the_rule_and_not_the_path(client: FlaskClient) -> None:
    before = count("GET", "/items/<int:item>", "200")
    for item in range(1, 4):
        assert client.get(f"/items/{item}").status_code == 200
    assert count("GET", "/items/<int:item>", "200") == before + 3


def test_unexpected_exception_has_route_and_status(client: FlaskClient) -> None:
    before = count("GET", "/items/<int:item>", "500")
    assert client.get("/items/0").status_code == 500
    assert count("GET", "/items/<int:item>", "500") == before + 1


def test_unknown_paths_and_methods_make_one_series(client: FlaskClient) -> None:
    client.get("/nowhere")
    client.open("/nowhere", method="BREW")
    before, missing = series(), count("GET", "", "404")
    for number in range(100):
        assert client.get(f"/nowhere/{number}").status_code == 404
        client.open(f"/nowhere/{number}", method=f"BREW{number}")
    assert series() == before
    assert count("GET", "", "404") == missing + 100
    assert count("_OTHER", "", "404") + count("_OTHER", "", "405") > 0


def test_metrics_of_the_log_line_are_observed() -> None:
    queued = value("http_server_queue_duration_seconds_sum")
    # {% if cookiecutter.__database %}
    queries = value("http_server_request_queries_sum", http_route="/x")
    # {% endif %}
    # {% if cookiecutter.__cache %}
    hits = value("cache_operations_total", result="hit")
    # {% endif %}
    environ = {"REQUEST_METHOD": "GET"}
    metrics = {"queue_ms": 500.0, "queries": 3, "cache_hits": 2}
    requests.request_finished(environ, "/x", 200, 1.5, metrics)
    assert value("http_server_queue_duration_seconds_sum") == queued + 0.5
    # {% if cookiecutter.__database %}
    assert value("http_server_request_queries_sum", http_route="/x") == queries + 3
    # {% endif %}
    # {% if cookiecutter.__cache %}
    assert value("cache_operations_total", result="hit") == hits + 2
    # {% endif %}


def finish(route: str, seconds: float = 0.1) -> None:
    """End a request."""
    requests.request_finished({"REQUEST_METHOD": "GET"}, route, 200, seconds, {})


def buckets(route: str) -> dict[str, float]:
    """Return the upper bounds of durations and the number of requests below each."""
    requests.observe_finished()
    return {
        sample.labels["le"]: sample.value
        for metric in requests.REQUESTS.collect()
        for sample in metric.samples
        if sample.labels.get("http_route") == route and "le" in sample.labels
    }


def test_requests_are_observed_together_as_alone() -> None:
    durations = [0.005, 0.0051, 0.3, 0.3, 10, 99]
    for seconds in durations:
        finish("/together", seconds)
        requests.REQUESTS.labels("GET", "/alone", 200).observe(seconds)
    assert buckets("/together") == buckets("/alone")
    assert buckets("/together")["0.005"] == 1
    total = value(REQUESTS.replace("count", "sum"), **LABELS, http_route="/together")
    assert total == pytest.approx(sum(durations))


def test_number_of_unobserved_requests_is_limited() -> None:
    for _ in range(3 * requests.BATCH):
        finish("/many")
        assert len(requests.finished) < requests.BATCH
    assert count("GET", "/many", "200") == 3 * requests.BATCH


def test_threads_observe_each_request_once() -> None:
    def send(_: int) -> None:
        for _ in range(1000):
            finish("/threads")
            requests.observe_finished()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(send, range(4)))
    assert count("GET", "/threads", "200") == 4000


def test_fork_observes_no_request_of_its_parent() -> None:
    requests.observe_finished()
    finish("/fork")
    child = os.fork()
    if not child:
        os._exit(len(requests.finished))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert count("GET", "/fork", "200") == 1


def test_requests_are_observed_regularly(monkeypatch: pytest.MonkeyPatch) -> None:
    semaphore = FairSemaphore(2)
    semaphore.acquire()
    active, unobserved = [], []
    test_thread = get_ident()

    # A process that has served a request has such a thread, with its own semaphore.
    def set_active(value: float) -> None:
        if get_ident() == test_thread:
            active.append(value)

    def sleep(seconds: float) -> None:
        if get_ident() != test_thread:
            time.sleep(seconds)
            return
        assert seconds == 0.5
        unobserved.append(len(requests.finished))
        if len(unobserved) == 2:
            raise StopIteration
        semaphore.release()

    monkeypatch.setattr(requests.ACTIVE, "set", set_active)
    monkeypatch.setattr(requests, "sleep", sleep)
    requests.finished.clear()
    finish("/regular")
    with pytest.raises(StopIteration):
        requests.observe_regularly(semaphore)
    assert (active, unobserved) == ([1, 0], [0, 0])
    assert count("GET", "/regular", "200") == 1


def test_first_request_of_a_process_shares_its_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def start(_: SharedValues, folder: Path) -> bool:
        started.append(folder)
        return len(started) == 1

    monkeypatch.setattr(SharedValues, "start", start)
    settings = load_settings({"FLASK_TESTING": "1", "METRICS_FOLDER": str(tmp_path)})
    plain = Flask(__name__)
    plain.extensions["monitoring"] = settings
    plain.add_url_rule("/", "index", lambda: "")
    guard = WorkerGuard(plain, 3, 10)
    monkeypatch.setattr(guard, "watch", lambda: None)
    plain.wsgi_app = guard  # type: ignore[method-assign]
    plain.extensions["worker_threads"] = guard
    monkeypatch.setattr(requests, "observe_regularly", lambda _: None)
    starts = value("process_starts_total", process="web")
    rejected = "http_server_rejected_requests_total"
    for _ in range(2):
        plain.test_client().get("/", buffered=True)
    assert {path.parent for path in started} == {tmp_path}
    assert value("http_server_threads") == 3
    assert value("process_starts_total", process="web") == starts + 1
    before = value(rejected)
    guard.semaphore.limit = 0
    guard.semaphore.is_overloaded = True
    assert plain.test_client().get("/", buffered=True).status_code == 503
    assert value(rejected) == before + 1
