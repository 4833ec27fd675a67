"""Spans of requests to other services, which continue the trace."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from .tracing import propagator, running, tracing


@contextmanager
def outgoing_request(method: str, host: str, headers: MutableMapping[str, str]) -> Iterator[Span]:
    """Record a request to another service, and add the header of the trace."""
    span = tracing.start_child(method, SpanKind.CLIENT)
    span.set_attribute("http.request.method", method)
    span.set_attribute("server.address", host)
    with running(span):
        propagator.inject(headers)
        yield span
