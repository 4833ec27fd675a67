#!/bin/sh
# opentelemetry-sdk 1.45.2, Python 3.11 to 3.14, Linux.
# Expected: after a fork the child exports nothing, or counters that start from 0 in the child.
# Actual: the reader starts its thread again in the child with a new random `service.instance.id`, which replaces the configured one, but the
#   counters keep the counts of the parent. Two instances export the same 5 orders, so a sum over all instances is 10.
# Workaround: shut the reader down before the fork, or create the provider after it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import time

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

read, write = os.pipe()


class Exporter(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **_):
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    value = metric.data.data_points[0].value
                    instance = resource.resource.attributes["service.instance.id"]
                    os.write(write, f"{os.getpid()} {instance} {value}\n".encode())
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **_):
        pass


reader = PeriodicExportingMetricReader(Exporter(), export_interval_millis=300)
provider = MeterProvider(metric_readers=[reader], resource=Resource({"service.instance.id": "parent"}), shutdown_on_exit=False)
provider.get_meter("own").create_counter("orders").add(5)
child = os.fork()
if child == 0:
    time.sleep(1)
    os._exit(0)
os.waitpid(child, 0)
exported = {tuple(line.split()) for line in os.read(read, 65536).decode().splitlines()}
print("the child exported:", {line[1:] for line in exported if line[0] == str(child)})
assert (str(os.getpid()), "parent", "5") in exported
children = {(instance, value) for process, instance, value in exported if process == str(child)}
assert [value for _, value in children] == ["5"]
assert "parent" not in dict(children)
os._exit(0)
PYTHON
