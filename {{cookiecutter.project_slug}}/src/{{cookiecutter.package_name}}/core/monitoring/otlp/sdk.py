"""OpenTelemetry's SDK: the exporters, the limits of their failures, and the end of a process."""

import atexit
import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache, partial
from multiprocessing.util import Finalize
from time import monotonic
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from . import span_encoder  # noqa: F401 (it replaces the encoder of the exporter)
from .instruments import Counter
from .log_exporter import LogExporter
from .metric_exporter import create_meters
from .spans import RecordedSpan, Scope

# Seconds for one export, unless OTEL_EXPORTER_OTLP_TIMEOUT is set, and for the last ones of a
# process.
TIMEOUT = 3
# Seconds between two log lines about failed exports.
WARNING_INTERVAL = 60

DROPPED = Counter(
    "telemetry.dropped",
    "Spans and log lines that did not fit into the queue of an exporter.",
    ["telemetry.type"],
    "{item}",
)

PACKAGE = __name__.partition(".")[0]
# Loggers of failed exports.
LOGGERS = [
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
]


class WarningLimit(logging.Filter):
    """Limits the log lines about failed exports, which are no errors of the service."""

    next_at = 0.0
    number = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged; make it a warning with the number of such lines."""
        self.number += 1
        if monotonic() < self.next_at:
            return False
        self.next_at = monotonic() + WARNING_INTERVAL
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = f"{record.getMessage()} (until now {self.number} times)", ()
        return True


class DropLimit(WarningLimit):
    """Counts what does not fit into the queues, and limits the log lines about it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged."""
        DROPPED.record(1, *map(str, record.args or ()))
        return super().filter(record)


class FastResource(Resource):
    """The attributes of this service, which the SDK encodes as JSON for each span (1.45.2)."""

    def __hash__(self) -> int:
        """Return a number that is unique in this process."""
        return id(self)


class SDK:
    """The exporters of this process and of its forks."""

    def __init__(self, signals: Collection[str], defaults: Mapping[str, str]) -> None:
        self.signals = signals
        resource = Resource(defaults).merge(Resource.create())
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            name = "{{ cookiecutter.project_slug }}"
            resource = resource.merge(Resource({SERVICE_NAME: name}))
        self.resource = resource = FastResource(resource.attributes, resource.schema_url)
        self.spans = BatchSpanProcessor(OTLPSpanExporter()) if "traces" in signals else None
        if self.spans:
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(self.spans)
            trace.set_tracer_provider(provider)
        # Private: the public method reads the context of each span, which most do not need.
        emit: Any = self.spans and self.spans._batch_processor.emit
        self.scope = Scope(PACKAGE, resource, emit)
        self.start_span = partial(RecordedSpan, self.scope)
        self.log_exporter = LogExporter(PACKAGE, resource) if "logs" in signals else None
        self.meters: MeterProvider | None = None
        os.register_at_fork(after_in_child=self.reset_meters)
        atexit.register(self.stop)
        # Processes of `multiprocessing` call no `atexit` functions.
        Finalize(None, self.stop, exitpriority=0)

    # {% if cookiecutter.deployment == "aws-lambda" %}
    def flush(self) -> None:
        """Export what waits, within `TIMEOUT`, before the process is frozen."""
        deadline = monotonic() + TIMEOUT
        logs: Any = self.log_exporter and self.log_exporter.processor
        exporters: tuple[Any, ...] = (self.spans, logs, self.meters)
        for exporter in filter(None, exporters):
            exporter.force_flush(milliseconds_until(deadline))

    # {% endif %}
    def stop(self, timeout: float = TIMEOUT) -> None:
        """Export what waits, and end the exporters, within some seconds."""
        deadline = monotonic() + timeout
        logs: Any = self.log_exporter and self.log_exporter.processor
        for processor in filter(None, (self.spans, logs)):
            # Private: the public method waits for each of up to four batches.
            processor._batch_processor.shutdown(milliseconds_until(deadline))
        if self.meters:
            # It raises an exception if no time is left; the failed exports are logged.
            with suppress(Exception):
                self.meters.shutdown(milliseconds_until(deadline))

    def start_metrics(self, *, is_forked: bool = False) -> Meter:
        """Export the metrics of this process, and of each fork that calls this, too."""
        if "metrics" not in self.signals:
            return NoOpMeter(PACKAGE)
        if not self.meters:
            self.meters = create_meters(self.resource, PACKAGE, is_forked=is_forked)
        return self.meters.get_meter(PACKAGE)

    def reset_meters(self) -> None:
        """Leave the metrics of the process that forked this one to it."""
        self.meters = None


def milliseconds_until(deadline: float) -> int:
    """Return the milliseconds until a time of `monotonic`."""
    return round(max(0.0, deadline - monotonic()) * 1000)


@cache
def get_sdk(endpoint: str, signals: frozenset[str], defaults: tuple[tuple[str, str], ...]) -> SDK:
    """Start the exporters, once in a process. They read the other variables OTEL_….

    `defaults` are attributes that OTEL_RESOURCE_ATTRIBUTES may replace.
    """
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", str(TIMEOUT))
    limit = WarningLimit()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(limit)
    # The SDK has a filter of its own, for repeated lines.
    logging.getLogger("opentelemetry.sdk._shared_internal").filters.insert(0, DropLimit())
    return SDK(signals, dict(defaults))
