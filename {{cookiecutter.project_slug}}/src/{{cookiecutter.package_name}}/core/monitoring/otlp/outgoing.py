"""Spans and metrics of requests to other services, which continue the trace."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from time import perf_counter

from opentelemetry.trace import SpanKind

from ..conventions import BUCKETS, label_host
from .instruments import Histogram
from .tracing import propagator, running, tracing

CALLS = Histogram(
    "http.client.request.duration",
    "Duration of requests to other services; without a response the status is empty.",
    ["http.request.method", "server.address", "http.response.status_code"],
    BUCKETS,
)


@contextmanager
def outgoing_request(
    method: str, host: str, headers: MutableMapping[str, str]
) -> Iterator[Callable[[int], None]]:
    """Record a request to another service, and add the header of the trace.

    Yield a function that records the status of the response.
    """
    span = tracing.start_child(method, SpanKind.CLIENT)
    span.set_attribute("http.request.method", method)
    span.set_attribute("server.address", host)
    status: int | str = ""

    def set_status(received: int) -> None:
        nonlocal status
        status = received
        span.set_attribute("http.response.status_code", received)

    started = perf_counter()
    try:
        with running(span):
            propagator.inject(headers)
            yield set_status
    finally:
        CALLS.record(perf_counter() - started, method, label_host(host), status)
