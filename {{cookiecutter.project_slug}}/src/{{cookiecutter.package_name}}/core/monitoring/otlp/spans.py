"""Spans that are exported.

The SDK's own take three times as long, since they check and copy each attribute (1.45.2). Those of
other code, which calls `get_tracer`, are of the SDK.
"""

from collections.abc import Callable, Mapping, Sequence
from random import getrandbits
from time import time_ns
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
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


class Scope:
    """What all spans of this process have in common: `emit` queues a span for the exporter."""

    def __init__(self, name: str, resource: Resource, emit: Callable[[Any], object]) -> None:
        self.instrumentation = InstrumentationScope(name)
        self.resource = resource
        self.emit = emit


class RecordedSpan(Span):
    """A span that is exported. The exporter reads the attributes of the SDK's spans."""

    dropped_attributes = dropped_events = dropped_links = 0
    end_time = 0
    status = UNSET
    links: Sequence[Link] = ()
    events: Sequence[Event] = ()
    stored_context: SpanContext | None = None

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
        self.scope = scope
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = getrandbits(64)
        self.parent = parent
        self.attributes: dict[str, AttributeValue] = {}
        self.start_time = time_ns() - int(seconds * 1e9)

    @property
    def resource(self) -> Resource:
        """The attributes of this service."""
        return self.scope.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The name of this package."""
        return self.scope.instrumentation

    @property
    def context(self) -> SpanContext:
        """The IDs. Most spans have no child, and need no context."""
        if self.stored_context is None:
            self.stored_context = SpanContext(
                self.trace_id, self.span_id, is_remote=False, trace_flags=SAMPLED
            )
        return self.stored_context

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
        self.events = [*self.events, Event(name, attributes, timestamp)]

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link another span."""
        self.links = [*self.links, Link(context, attributes)]

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
        self.scope.emit(self)
