"""Encoded spans, compared with those of the SDK."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind, get_tracer
from opentelemetry.util.types import AttributeValue

from {{ cookiecutter.package_name }}.core.monitoring.otlp import (
    span_encoder,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

from .conftest import Spans

encoder: Any = vars(trace_exporter)["encode_spans"]


@pytest.fixture(autouse=True)
def _traced_app(make_traced_app: Callable[..., Flask]) -> None:
    make_traced_app()


def create_span(value: AttributeValue = "x", parent: Any = None, *, is_failed: bool = False) -> Any:
    """Return an ended span."""
    context = parent and parent.context
    span = tracing.sdk.start_span("price", SpanKind.SERVER, 2**127, context)
    span.set_attribute("value", value)
    if is_failed:
        span.fail("500")
    span.end()
    return span


def decode(*spans: Any) -> ExportTraceServiceRequest:
    """Return the request that is exported."""
    decoded: ExportTraceServiceRequest
    decoded = ExportTraceServiceRequest.FromString(encoder(spans).SerializePartialToString())
    return decoded


@pytest.mark.parametrize("value", [1, 1.0, True, "x", "x" * 200, [1, 2], "x" * 20_000])
def test_spans_are_encoded_as_by_the_sdk(value: AttributeValue) -> None:
    spans = [create_span(value)]
    spans += [create_span(value), create_span(value, spans[0]), create_span(is_failed=True)]
    spans += [create_span(value=False), create_span(0), create_span(""), create_span(0.0)]
    spans += [create_span(-0.0), create_span((1,)), create_span((1.0,)), create_span((True,))]
    # Twice: the second time from templates.
    for _ in range(2):
        assert decode(*spans) == encoder.encode_spans(spans)
    assert decode(*spans[:1]) == encoder.encode_spans(spans[:1])


def test_many_spans_are_one_scope() -> None:
    spans = [create_span(number) for number in range(512)]
    assert decode(*spans) == encoder.encode_spans(spans)


def test_spans_of_other_code_are_exported_too(spans: Spans) -> None:
    with_event = create_span()
    with_event.add_event("rounded")
    get_tracer("other").start_span("other").end()
    other = spans.named("other")
    plain = create_span()
    exported = decode(plain, with_event, other)
    found = [
        (scope.scope.name, span.name, len(span.events))
        for resource in exported.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    name = tracing.sdk.scope.instrumentation.name
    assert sorted(found) == sorted([(name, "price", 0), (name, "price", 1), ("other", "other", 0)])
    assert len({str(resource.resource) for resource in exported.resource_spans}) == 1


def test_number_of_templates_is_limited() -> None:
    for number in range(span_encoder.MAX_TEMPLATES + 10):
        decode(create_span(number), create_span("x" * 20_000))
        assert len(encoder.templates) <= span_encoder.MAX_TEMPLATES
    largest = max(map(len, encoder.templates.values()))
    assert largest <= span_encoder.MAX_TEMPLATE_BYTES
