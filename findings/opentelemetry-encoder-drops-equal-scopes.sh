#!/bin/sh
# opentelemetry-exporter-otlp-proto-http 1.45.2, opentelemetry-sdk 1.45.2, Python 3.11 to 3.14.
# Expected: two `ScopeMetrics` of one resource, with equal scopes and different metrics, are both in the encoded request: OTLP allows it.
# Actual: the encoder groups them in a dictionary by scope, and the second replaces the first. Its metrics are lost without a message.
# Workaround: one `ScopeMetrics` with the metrics of both, or another scope name.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
"$folder/venv/bin/python" - <<'PYTHON'
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope


def scope_metrics(scope, name):
    point = NumberDataPoint(attributes={}, start_time_unix_nano=1, time_unix_nano=2, value=1)
    data = Sum(data_points=[point], aggregation_temporality=AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return ScopeMetrics(scope, [Metric(name, "", "1", data)], "")


def encoded(second_scope):
    scopes = [scope_metrics(InstrumentationScope("shop"), "orders"), scope_metrics(InstrumentationScope(second_scope), "payments")]
    request = encode_metrics(MetricsData([ResourceMetrics(Resource({}), scopes, "")]))
    return sorted(m.name for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics)


print("equal scopes:", encoded("shop"), "- different scopes:", encoded("bank"))
assert encoded("bank") == ["orders", "payments"]
assert encoded("shop") == ["payments"]
PYTHON
