"""Encodes spans for the exporter, which takes most of the time of a span.

Most spans differ in their IDs and times only: the rest is encoded once. Joined messages of Protocol
Buffers are the message with the fields of all (protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from .spans import RecordedSpan

SPANS = ScopeSpans.SPANS_FIELD_NUMBER
SCOPE_SPANS = ResourceSpans.SCOPE_SPANS_FIELD_NUMBER
RESOURCE_SPANS = ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER
# Fields that differ in all spans.
UNIQUE_FIELDS = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "start_time_unix_nano",
    "end_time_unix_nano",
)
# A byte of a length has 7 bits of it, and a bit that says that another one follows.
LENGTH_BITS, MORE = 7, 128
# The type of a field that is a message.
LENGTH_DELIMITED = 2
# Number of encoded spans that are stored as templates.
MAX_TEMPLATES = 1000
MAX_TEMPLATE_BYTES = 10_000
# Equal values of other types may be encoded differently, such as 0.0 and -0.0.
TEMPLATE_TYPES = {bool, int, str}

Encode = Callable[[Sequence[Any]], ExportTraceServiceRequest]


class Encoded:
    """An encoded request, with the method that the exporter calls."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def SerializePartialToString(self) -> bytes:
        """Return the bytes of the request."""
        return self.data


class Encoder:
    """Encodes spans as the SDK's `encode_spans` does."""

    def __init__(self, encode_spans: Encode) -> None:
        self.encode_spans = encode_spans
        self.templates: dict[Any, bytes] = {}

    def __call__(self, spans: Sequence[Any]) -> Encoded:
        """Return the request with spans, of which some may be of the SDK."""
        own: list[RecordedSpan] = []
        others: list[Any] = []
        for span in spans:
            is_own = isinstance(span, RecordedSpan) and not span.events and not span.links
            (own if is_own else others).append(span)
        data = self.encode_spans(others).SerializeToString()
        if own:
            data += self.encode(own)
        return Encoded(data)

    def encode(self, spans: Sequence[RecordedSpan]) -> bytes:
        """Return the request with spans of this process, which share their scope and resource."""
        (resource,) = self.encode_spans(spans[:1]).resource_spans
        (scope,) = resource.scope_spans
        scope.ClearField("spans")
        scope_spans = scope.SerializeToString() + b"".join(map(self.encode_span, spans))
        resource.ClearField("scope_spans")
        resource_spans = resource.SerializeToString() + make_field(SCOPE_SPANS, scope_spans)
        return make_field(RESOURCE_SPANS, resource_spans)

    def encode_span(self, span: RecordedSpan) -> bytes:
        """Return a span as a field of its scope."""
        ids = Span(
            trace_id=span.trace_id.to_bytes(16, "big"),
            span_id=span.span_id.to_bytes(8, "big"),
            parent_span_id=span.parent.span_id.to_bytes(8, "big") if span.parent else b"",
            start_time_unix_nano=span.start_time,
            end_time_unix_nano=span.end_time,
        )
        return make_field(SPANS, self.get_template(span) + ids.SerializeToString())

    def get_template(self, span: RecordedSpan) -> bytes:
        """Return an encoded span without its IDs and times."""
        parent, values = span.parent, span.attributes.values()
        if not TEMPLATE_TYPES.issuperset(map(type, values)):
            return self.make_template(span)
        # Types, because 1 and True are equal.
        key = (
            span.name,
            span.kind,
            span.status,
            parent and parent.is_remote,
            *span.attributes,
            *values,
            *map(type, values),
        )
        template = self.templates.get(key)
        if template is None:
            template = self.make_template(span)
            if len(self.templates) >= MAX_TEMPLATES:
                self.templates.clear()
            if len(template) <= MAX_TEMPLATE_BYTES:
                self.templates[key] = template
        return template

    def make_template(self, span: RecordedSpan) -> bytes:
        """Encode a span, and remove its IDs and times."""
        (resource,) = self.encode_spans([span]).resource_spans
        (scope,) = resource.scope_spans
        (message,) = scope.spans
        for name in UNIQUE_FIELDS:
            message.ClearField(name)
        encoded: bytes = message.SerializeToString()
        return encoded


def make_field(number: int, data: bytes) -> bytes:
    """Return a message as a field of another one: the tag, the length and the data."""
    header, length = bytearray([number << 3 | LENGTH_DELIMITED]), len(data)
    while length >= MORE:
        header.append(length % MORE | MORE)
        length >>= LENGTH_BITS
    header.append(length)
    return bytes(header) + data


trace_exporter.encode_spans = Encoder(encode_spans)  # type: ignore[assignment,attr-defined]
