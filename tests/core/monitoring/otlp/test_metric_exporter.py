"""Export of metrics, to a list instead of a collector."""

import os
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.resources import Resource

from {{ cookiecutter.package_name }}.core.monitoring.otlp import (
    metric_exporter,
    requests,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

ATTRIBUTES = {
    "http.request.method": "GET",
    "http.route": "/ok/<int:number>",
    "http.response.status_code": 200,
}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[MetricsData]:
    found: list[MetricsData] = []
    monkeypatch.setattr(
        OTLPMetricExporter, "export", lambda _self, data, *_args, **_options: found.append(data)
    )
    return found


def export(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the export as a server does, and end it."""
    provider = metric_exporter.create_meters(Resource({}), "test", is_forked=True)
    monkeypatch.setattr(tracing.sdk, "start_metrics", lambda: provider.get_meter("test"))
    app.extensions["worker_threads"] = Mock(running={1: 1, 2: 2})
    requests.serve(app, threads=4)
    provider.shutdown()


def find(exported: list[MetricsData]) -> dict[str, Any]:
    """Return the metrics of the last export by their name."""
    (resource_metrics,) = exported[-1].resource_metrics
    assert resource_metrics.resource.attributes["service.instance.id"]
    scopes = resource_metrics.scope_metrics
    # Of equal ones the SDK exports the last.
    assert len({scope.scope for scope in scopes}) == len(scopes)
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


@pytest.mark.parametrize("preference", ["cumulative", "delta"])
def test_metrics_of_requests_are_exported(
    make_traced_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    exported: list[MetricsData],
    preference: str,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    app = make_traced_app()
    requests.REQUESTS.reset()
    requests.REJECTED.reset()
    for number in range(3):
        app.test_client().get(f"/ok/{number}")
    requests.request_rejected()
    export(app, monkeypatch)
    metrics = find(exported)
    data = metrics["http.server.request.duration"].data
    is_delta = data.aggregation_temporality is AggregationTemporality.DELTA
    assert is_delta == (preference == "delta")
    (point,) = [point for point in data.data_points if point.attributes == ATTRIBUTES]
    assert point.count == sum(point.bucket_counts) == 3
    assert 0 < point.sum < 3
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    rejected = metrics["http.server.rejected_requests"].data
    assert rejected.is_monotonic
    assert [point.value for point in rejected.data_points] == [1]
    for name, value in {"http.server.active_requests": 2, "http.server.threads": 4}.items():
        assert [point.value for point in metrics[name].data.data_points] == [value]
    assert len(requests.REQUESTS.read(is_delta=False)[1]) == (0 if is_delta else 1)
    # {% if cookiecutter.__pooled %}
    points = metrics["db.client.connection.count"].data.data_points
    assert {point.attributes["state"] for point in points} == {"used", "idle"}
    # {% endif %}


def test_metrics_without_values_are_not_exported(
    make_traced_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    exported: list[MetricsData],
) -> None:
    app = make_traced_app()
    requests.REJECTED.reset()
    export(app, monkeypatch)
    assert "http.server.rejected_requests" not in find(exported)


def test_without_endpoint_nothing_is_exported(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    requests.serve(app, threads=4)
    assert tracing.sdk is None


def test_fork_exports_nothing_of_its_parent(exported: list[MetricsData]) -> None:
    exporter = metric_exporter.MetricExporter("test")
    if not (pid := os.fork()):
        exporter.export(MetricsData([]))
        os._exit(len(exported))
    assert os.waitpid(pid, 0)[1] == 0
    exporter.shutdown()
