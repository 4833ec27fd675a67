"""Metrics of requests, compared before and after them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.config import load_settings
# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.access import allow_anonymous
# {% endif %}
from {{ cookiecutter.package_name }}.core.monitoring import prometheus
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.shared_files import (
    SharedValues,
)
from {{ cookiecutter.package_name }}.core.worker_threads import WorkerGuard

REQUESTS = "http_server_request_duration_seconds_count"


def value(name: str, **labels: str) -> float:
    """Return the value of a metric in this process."""
    return REGISTRY.get_sample_value(name, labels) or 0


def requests(method: str, route: str, status: str) -> float:
    """Return the number of requests."""
    labels = {"http_request_method": method, "http_route": route}
    return value(REQUESTS, http_response_status_code=status, **labels)


def series() -> set[tuple[str, ...]]:
    """Return the labels of all requests."""
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
        assert value("http_server_active_requests") == 1
        if not item:
            raise ValueError
        return str(item)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client()


def test_route_is_the_rule_and_not_the_path(client: FlaskClient) -> None:
    before = requests("GET", "/items/<int:item>", "200")
    for item in range(1, 4):
        assert client.get(f"/items/{item}").status_code == 200
    assert requests("GET", "/items/<int:item>", "200") == before + 3
    assert value("http_server_active_requests") == 0


def test_unexpected_exception_has_route_and_status(client: FlaskClient) -> None:
    before = requests("GET", "/items/<int:item>", "500")
    assert client.get("/items/0").status_code == 500
    assert requests("GET", "/items/<int:item>", "500") == before + 1


def test_unknown_paths_and_methods_make_one_series(client: FlaskClient) -> None:
    client.get("/nowhere")
    client.open("/nowhere", method="BREW")
    before, missing = series(), requests("GET", "", "404")
    for number in range(100):
        assert client.get(f"/nowhere/{number}").status_code == 404
        client.open(f"/nowhere/{number}", method=f"BREW{number}")
    assert series() == before
    assert requests("GET", "", "404") == missing + 100
    assert requests("_OTHER", "", "404") + requests("_OTHER", "", "405") > 0


def test_metrics_of_the_log_line_are_observed() -> None:
    queued = value("http_server_queue_duration_seconds_sum")
    # {% if cookiecutter.__database %}
    queries = value("http_server_request_queries_sum", http_route="/x")
    # {% endif %}
    # {% if cookiecutter.__cache %}
    hits = value("cache_operations_total", result="hit")
    # {% endif %}
    environ = {"REQUEST_METHOD": "GET"}
    prometheus.request_started(environ)
    metrics = {"queue_ms": 500.0, "queries": 3, "cache_hits": 2}
    prometheus.request_finished(environ, "/x", 200, 1.5, metrics)
    assert value("http_server_queue_duration_seconds_sum") == queued + 0.5
    # {% if cookiecutter.__database %}
    assert value("http_server_request_queries_sum", http_route="/x") == queries + 3
    # {% endif %}
    # {% if cookiecutter.__cache %}
    assert value("cache_operations_total", result="hit") == hits + 2
    # {% endif %}


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
