#!/bin/sh
# opentelemetry-sdk 1.45.2, Python 3.11 to 3.14.
# Expected: a flush of a provider without an instrument calls the exporter with the resource and an empty list, so that an exporter can add
#   metrics from another source.
# Actual: the exporter is not called at all; with one instrument the same flush calls it once.
# Workaround: create one observable instrument.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" - <<'PYTHON'
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader


class Exporter(MetricExporter):
    calls = 0

    def export(self, metrics_data, timeout_millis=10_000, **_):
        self.calls += 1
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **_):
        pass


def calls(*, with_instrument):
    exporter = Exporter()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    if with_instrument:
        provider.get_meter("own").create_observable_gauge("up", [lambda _: [Observation(1)]])
    provider.force_flush()
    return exporter.calls


print("exports without an instrument:", calls(with_instrument=False), "- with one:", calls(with_instrument=True))
assert calls(with_instrument=False) == 0
assert calls(with_instrument=True) == 1
PYTHON
