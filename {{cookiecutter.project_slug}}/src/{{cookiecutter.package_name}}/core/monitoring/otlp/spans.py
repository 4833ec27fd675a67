"""Spans that are exported.

The SDK's own take three times as long, since they check and copy each attribute (1.45.2). Those of
other code, which calls `get_tracer`, are of the SDK.
"""

from collections.abc import Callable, Mapping
from random import getrandbits
from time import time_ns
from typing import Any

# Private: encoding takes more than half of the time of a span.
from opentelemetry.exporter.otlp.proto.common._internal import trace_encoder
from opentelemetry.proto.trace.v1.trace_pb2 import Span as EncodedSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util.types import Attributes, AttributeValue

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSET, ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
# Number of encoded spans that are stored as templates.
MAX_TEMPLATES = 1000


class Scope:
    """What all spans of this process have in common."""

    def __init__(self, name: str, resource: Resource, processor: SpanProcessor | None) -> None:
        self.scope = InstrumentationScope(name)
        self.resource = resource
        self.processor: Any = processor


class RecordedSpan(Span):
    """A span that is exported. The exporter reads the attributes of the SDK's spans."""

    dropped_attributes = dropped_events = dropped_links = 0
    end_time = 0

    def __init__(
        self,
        scope: Scope,
        name: str,
        kind: SpanKind,
        trace_id: int,
        parent: SpanContext | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Start a span that has already taken some seconds."""
        self.processor = scope.processor
        self.resource = scope.resource
        self.instrumentation_scope = scope.scope
        self.name = name
        self.kind = kind
        self.context = SpanContext(trace_id, getrandbits(64), is_remote=False, trace_flags=SAMPLED)
        self.parent = parent
        self.links: list[Link] = []
        self.attributes: dict[str, AttributeValue] = {}
        self.events: list[Event] = []
        self.status = UNSET
        self.start_time = time_ns() - int(seconds * 1e9)

    def get_span_context(self) -> SpanContext:
        """Return the IDs."""
        return self.context

    def is_recording(self) -> bool:
        """Return True."""
        return True

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes."""
        self.attributes.update(attributes)

    def update_name(self, name: str) -> None:
        """Replace the name."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Replace the status."""
        self.status = status if isinstance(status, Status) else Status(status, description)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event."""
        self.events.append(Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link another span."""
        self.links.append(Link(context, attributes))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add the type of an exception. Its message may quote values, and is in the log."""
        kind = type(exception)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        self.add_event("exception", {"exception.type": name, **(attributes or {})}, timestamp)
        self.fail(name)

    def fail(self, error_type: str) -> None:
        """Mark the span as failed."""
        self.status = ERROR
        self.attributes["error.type"] = error_type

    def end(self, end_time: int | None = None) -> None:
        """Hand the span to the exporter."""
        self.end_time = end_time or time_ns()
        self.processor.on_end(self)


class Encoder:
    """Encodes spans. Most differ in their IDs and times only, so that the rest is copied."""

    def __init__(self, encode_all: Callable[[Any], EncodedSpan]) -> None:
        self.encode_all = encode_all
        self.templates: dict[Any, bytes] = {}

    def __call__(self, span: Any) -> EncodedSpan:
        """Return an encoded span."""
        if not isinstance(span, RecordedSpan) or span.events or span.links:
            return self.encode_all(span)
        parent, values = span.parent, span.attributes.values()
        # Types, because 1, 1.0 and True are equal.
        key = (
            span.name,
            span.kind.value,
            span.status,
            parent and parent.is_remote,
            *span.attributes,
            *values,
            *map(type, values),
        )
        try:
            template = self.templates.get(key)
        except TypeError:
            # A value is a list.
            return self.encode_all(span)
        if template is None:
            if len(self.templates) >= MAX_TEMPLATES:
                self.templates.clear()
            encoded = self.encode_all(span)
            self.templates[key] = encoded.SerializeToString()
            return encoded
        encoded = EncodedSpan()
        encoded.MergeFromString(template)
        encoded.trace_id = span.context.trace_id.to_bytes(16, "big")
        encoded.span_id = span.context.span_id.to_bytes(8, "big")
        if parent:
            encoded.parent_span_id = parent.span_id.to_bytes(8, "big")
        encoded.start_time_unix_nano = span.start_time
        encoded.end_time_unix_nano = span.end_time
        return encoded


# Private, as above.
trace_encoder._encode_span = Encoder(trace_encoder._encode_span)  # type: ignore[assignment]
