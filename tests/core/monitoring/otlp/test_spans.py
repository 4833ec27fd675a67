"""The methods of a span that code of the project may call."""

from collections.abc import Callable

from flask import Flask
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
