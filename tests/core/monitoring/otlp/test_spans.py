"""The methods of a span that code of the project may call."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

# Private: the part of it that is replaced.
from opentelemetry.exporter.otlp.proto.common._internal import trace_encoder
from opentelemetry.trace import SpanKind, Status, StatusCode

from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

from .conftest import Spans


def test_span_has_the_methods_of_the_api(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    make_traced_app()
    span = tracing.start_span(SpanKind.INTERNAL)
    other = tracing.start_span(SpanKind.INTERNAL)
    assert span.is_recording()
    span.update_name("pricing")
    span.set_attribute("a", 1)
    span.set_attributes({"b": 2})
    span.add_event("rounded", {"c": 3})
    span.add_link(other.get_span_context())
    span.set_status(StatusCode.OK, "fine")
    span.set_status(Status(StatusCode.ERROR))
    span.end()
    ended = spans.named("pricing")
    assert dict(ended.attributes or {}) == {"a": 1, "b": 2}
    assert [event.name for event in ended.events] == ["rounded"]
    assert [link.context for link in ended.links] == [other.get_span_context()]
    assert ended.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("value", [1, 1.0, True, "x", [1, 2]])
def test_copied_encoding_equals_that_of_the_sdk(
    make_traced_app: Callable[..., Flask], spans: Spans, value: Any
) -> None:
    make_traced_app()
    encode: Any = trace_encoder._encode_span
    for parent in (None, *spans.ended):
        for _ in range(2):
            context = parent and parent.context
            span = tracing.sdk.start_span("price", SpanKind.SERVER, 2**127, context)
            span.set_attribute("value", value)
            span.end()
            assert encode(span) == encode.encode_all(span)
    span.record_exception(ValueError())
    assert encode(span).events[0].name == "exception"
