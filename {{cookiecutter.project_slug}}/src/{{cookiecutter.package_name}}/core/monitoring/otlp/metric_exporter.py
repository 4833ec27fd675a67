"""Export of metrics, with the resource of this process."""

import os
from dataclasses import replace
from time import monotonic, time_ns
from typing import Any
from uuid import uuid4

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

from .instruments import Counter, Histogram, instruments

# Values of OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, for services that add up differences.
DELTA = {"delta", "lowmemory"}


class MetricExporter(OTLPMetricExporter):
    """Adds our own instruments to those of the SDK."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.process = os.getpid()
        preference = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "")
        self.is_delta = preference.strip().lower() in DELTA

    def export(self, metrics_data: MetricsData, *args: Any, **kwargs: Any) -> MetricExportResult:
        """Export all metrics; do nothing in a fork, in which the SDK's thread runs, too."""
        if os.getpid() != self.process:
            return MetricExportResult.SUCCESS
        now = time_ns()
        found = [self.convert(instrument, now) for instrument in instruments]
        own = [metric for metric in found if metric]
        (sdk,) = metrics_data.resource_metrics
        # Of two scopes with the same name the SDK would export one.
        scopes = [
            replace(scope, metrics=[*scope.metrics, *own])
            if scope.scope.name == self.name
            else scope
            for scope in sdk.scope_metrics
        ]
        all_metrics = MetricsData([replace(sdk, scope_metrics=scopes)])
        return super().export(all_metrics, *args, **kwargs)

    def convert(self, instrument: Histogram, now: int) -> Metric | None:
        """Return the metric of an instrument, or None if it has no values."""
        started, series = instrument.read(is_delta=self.is_delta)
        if not series:
            return None
        named = [
            (dict(zip(instrument.attributes, attributes, strict=False)), numbers)
            for attributes, numbers in series.items()
        ]
        delta, cumulative = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
        temporality = delta if self.is_delta else cumulative
        data: Sum | HistogramData
        if isinstance(instrument, Counter):
            points = [NumberDataPoint(names, started, now, numbers[-1]) for names, numbers in named]
            data = Sum(points, temporality, is_monotonic=True)
        else:
            data = HistogramData(
                [
                    HistogramDataPoint(
                        names,
                        started,
                        now,
                        count=int(sum(numbers[:-1])),
                        sum=numbers[-1],
                        bucket_counts=[int(number) for number in numbers[:-1]],
                        explicit_bounds=instrument.bounds,
                        # Not recorded: the protocol does not require them.
                        min=None,  # type: ignore[arg-type]
                        max=None,  # type: ignore[arg-type]
                    )
                    for names, numbers in named
                ],
                temporality,
            )
        return Metric(instrument.name, instrument.description, instrument.unit, data)


def create_meters(resource: Resource, name: str, *, is_forked: bool) -> MeterProvider:
    """Start the export of this process.

    Its values are a series of their own, so its resource needs an ID of its own: the SDK's is the
    same for all forks (1.45.2). The provider for other code is set once, so not in a process whose
    forks export metrics of their own.
    """
    own = Resource({SERVICE_INSTANCE_ID: str(uuid4())})
    reader = PeriodicExportingMetricReader(MetricExporter(name))
    provider = MeterProvider([reader], resource.merge(own), shutdown_on_exit=False)
    if not is_forked:
        metrics.set_meter_provider(provider)
    started = monotonic()
    # The SDK exports nothing if it has no instrument of its own.
    provider.get_meter(name).create_observable_gauge(
        "process.uptime",
        [lambda _: [Observation(monotonic() - started)]],
        "s",
        "Age of the process.",
    )
    return provider
