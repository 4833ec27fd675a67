"""OpenTelemetry's SDK: the exporters, the limits of their failures, and the end of a process."""

import atexit
import logging
import os
from functools import cache, lru_cache, partial
from multiprocessing.util import Finalize
from time import monotonic
from typing import Any

from opentelemetry import trace

# Private: encoding the attributes takes half of the time of a span's export.
from opentelemetry.exporter.otlp.proto.common import _internal as encoder
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .log_exporter import LogExporter
from .metric_exporter import create_meters
from .spans import RecordedSpan, Scope

# Seconds for one export, unless OTEL_EXPORTER_OTLP_TIMEOUT is set, and for the last ones of a
# process.
TIMEOUT = 3
# Seconds between two log lines about failed exports.
WARNING_INTERVAL = 60
# Number of encoded attributes that are stored; most are the same in many spans.
ENCODED_ATTRIBUTES = 2048

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

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged, and make it a warning."""
        if monotonic() < self.next_at:
            return False
        self.next_at = monotonic() + WARNING_INTERVAL
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class FastResource(Resource):
    """The attributes of this service, which the SDK encodes as JSON for each span (1.45.2)."""

    def __hash__(self) -> int:
        """Return a number that is unique in this process."""
        return id(self)


class SDK:
    """The exporters of this process and of its forks."""

    def __init__(self, *, exports_logs: bool) -> None:
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            name = "{{ cookiecutter.project_slug }}"
            resource = resource.merge(Resource({SERVICE_NAME: name}))
        self.resource = resource = FastResource(resource.attributes, resource.schema_url)
        self.spans = BatchSpanProcessor(OTLPSpanExporter())
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self.spans)
        trace.set_tracer_provider(provider)
        self.scope = Scope(PACKAGE, resource, self.spans)
        self.start_span = partial(RecordedSpan, self.scope)
        self.log_exporter = LogExporter(PACKAGE, resource) if exports_logs else None
        self.meters: MeterProvider | None = None
        atexit.register(self.stop)
        # Processes of `multiprocessing` call no `atexit` functions.
        Finalize(None, self.stop, exitpriority=0)

    def stop(self) -> None:
        """Export what waits, and end the exporters, within `TIMEOUT`."""
        deadline = monotonic() + TIMEOUT
        processors: list[Any] = [self.spans]
        if self.log_exporter:
            processors.append(self.log_exporter.processor)
        for processor in processors:
            # Private: the public method waits for each of up to four batches.
            processor._batch_processor.shutdown(milliseconds_until(deadline))
        if self.meters:
            self.meters.shutdown(milliseconds_until(deadline))

    def start_metrics(self) -> Meter:
        """Export the metrics of this process, which is not to be forked."""
        self.meters = self.meters or create_meters(self.resource, self.scope.scope)
        return self.meters.get_meter(PACKAGE)


def milliseconds_until(deadline: float) -> int:
    """Return the milliseconds until a time of `monotonic`."""
    return round(max(0.0, deadline - monotonic()) * 1000)


@cache
def get_sdk(endpoint: str, *, exports_logs: bool) -> SDK:
    """Start the exporters, once in a process. They read the other variables OTEL_…."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", str(TIMEOUT))
    limit = WarningLimit()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(limit)
    # It warns of each span that does not fit into the queue.
    logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)
    cached = lru_cache(ENCODED_ATTRIBUTES, typed=True)(encoder._encode_key_value)
    encoder._encode_key_value = cached
    return SDK(exports_logs=exports_logs)
