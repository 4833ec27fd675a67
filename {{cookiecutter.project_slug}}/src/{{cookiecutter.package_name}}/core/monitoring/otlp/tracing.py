"""Traces: which of them are sampled, and where their spans start.

Names are those of OpenTelemetry's semantic conventions. No attribute contains a path, a query
string, a header, a parameter or a message: they may be confidential.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import getrandbits
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict

from ....config import Settings

# The last bits of a trace ID decide whether the trace is sampled.
RANDOM_BITS = 2**64 - 1
NO_PARENT = Context()
# The key of the current span in a context: `set_span_in_context` takes four times as long as
# `Context({SPAN_KEY: span})`.
(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, NO_PARENT)

propagator = TraceContextTextMapPropagator()


class UnsampledSpan(NonRecordingSpan):
    """A span with IDs only, for log lines and for the headers of outgoing requests.

    Most spans are such ones, and most need only one ID.
    """

    context: SpanContext | None = None
    span_id = 0

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id

    def get_span_context(self) -> SpanContext:
        """Return both IDs."""
        self.context = self.context or SpanContext(self.trace_id, getrandbits(64), is_remote=False)
        return self.context


class Tracing:
    """The sampler of this process, and its spans."""

    # The module `sdk` has its class, which is not imported without an endpoint.
    sdk: Any = None
    trusts_callers = False
    follows_parent = False
    bound = 0

    def start(self, settings: Settings, sdk: Any) -> None:
        """Start recording, as OTEL_TRACES_SAMPLER says."""
        self.sdk = sdk
        self.trusts_callers = settings.TRUSTED_TRACEPARENT
        sampler = settings.OTEL_TRACES_SAMPLER
        self.follows_parent = sampler.startswith("parentbased_")
        always = {"always_on": 1.0, "always_off": 0.0}
        name = sampler.removeprefix("parentbased_")
        ratio = always.get(name, settings.OTEL_TRACES_SAMPLER_ARG)
        if not sdk.spans:
            self.follows_parent, ratio = False, 0.0
        self.bound = round(ratio * (RANDOM_BITS + 1))

    def start_span(self, kind: SpanKind, caller: SpanContext = INVALID_SPAN_CONTEXT) -> Span:
        """Start the first span of a trace here; another service may have begun the trace."""
        if not self.sdk:
            return INVALID_SPAN
        trace_id, parent = getrandbits(128), None
        if caller is not INVALID_SPAN_CONTEXT and caller.is_valid:
            trace_id, parent = caller.trace_id, caller
        is_sampled = trace_id & RANDOM_BITS < self.bound
        if parent and self.follows_parent:
            is_sampled = parent.trace_flags.sampled
        if is_sampled:
            span: Span = self.sdk.start_span("", kind, trace_id, parent)
            return span
        return UnsampledSpan(trace_id)

    def start_child(self, name: str, kind: SpanKind, seconds: float = 0.0) -> Span:
        """Start a span below the current one, or some seconds ago.

        Return the current one if that is not recorded.
        """
        current = get_current_span()
        if not (self.sdk and current.is_recording()):
            return current
        parent = current.get_span_context()
        span: Span = self.sdk.start_span(name, kind, parent.trace_id, parent, seconds)
        return span


tracing = Tracing()


@contextmanager
def running(span: Span) -> Iterator[None]:
    """Make a span the current one, and end it; an exception is its error."""
    token = attach(set_span_in_context(span))
    try:
        yield
    except BaseException as error:
        span.record_exception(error)
        raise
    finally:
        detach(token)
        span.end()


def add_trace_context(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Add the IDs of the current span to a log line, and export it with OTEL_LOGS_EXPORTER.

    A span that is not exported has no ID.
    """
    if not tracing.sdk:
        return event
    span: Any = get_current().get(SPAN_KEY)
    if trace_id := getattr(span, "trace_id", 0):
        # A span of this package.
        event["trace_id"] = f"{trace_id:032x}"
        if span.span_id:
            event["span_id"] = f"{span.span_id:016x}"
    elif isinstance(span, Span):
        context = span.get_span_context()
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    if tracing.sdk.log_exporter:
        tracing.sdk.log_exporter.export(event)
    return event
