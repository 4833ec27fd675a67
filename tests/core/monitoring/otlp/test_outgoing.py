"""Spans of requests to other services."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask
from opentelemetry.trace import SpanKind

from {{ cookiecutter.package_name }}.core.http_client import (
    UnreachableError,
    fetch,
)
from {{ cookiecutter.package_name }}.core.monitoring import conventions
from {{ cookiecutter.package_name }}.core.monitoring.otlp.outgoing import (
    CALLS,
)

from .conftest import Spans


def add_view(app: Flask, url: str, method: str = "GET") -> None:
    def call() -> str:
        return fetch(url, method).body.decode()

    vars(call)["access_rule"] = None
    app.add_url_rule("/call", "call", call)


def test_request_is_a_span_and_continues_the_trace(
    make_traced_app: Callable[..., Flask], spans: Spans, http_server: Any
) -> None:
    http_server.respond(b"pen")
    app = make_traced_app(
        HTTP_CLIENT_ALLOWED_NETWORKS="127.0.0.1", HTTP_CLIENT_ALLOWED_PORTS=http_server.port
    )
    add_view(app, f"{http_server.url}/pens?token=secret")
    assert app.test_client().get("/call").text == "pen"
    span = spans.named("GET")
    assert span.kind is SpanKind.CLIENT
    assert span.parent == spans.named("GET /call").context
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
    }
    context = span.context
    assert context
    (request,) = http_server.requests
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
    assert request.headers["traceparent"] == expected


def test_failed_request_is_an_error(
    make_traced_app: Callable[..., Flask], spans: Spans, http_server: Any
) -> None:
    http_server.responses.append([b"nonsense"])
    app = make_traced_app(
        HTTP_CLIENT_ALLOWED_NETWORKS="127.0.0.1", HTTP_CLIENT_ALLOWED_PORTS=http_server.port
    )
    add_view(app, http_server.url, "POST")
    app.test_client().get("/call")
    error = str(dict(spans.named("POST").attributes or {})["error.type"])
    assert error.endswith(UnreachableError.__name__)


def test_unsampled_request_says_so(
    make_traced_app: Callable[..., Flask], spans: Spans, http_server: Any
) -> None:
    http_server.respond(b"pen")
    app = make_traced_app(
        OTEL_TRACES_SAMPLER="always_off",
        HTTP_CLIENT_ALLOWED_NETWORKS="127.0.0.1",
        HTTP_CLIENT_ALLOWED_PORTS=http_server.port,
    )
    add_view(app, http_server.url)
    app.test_client().get("/call")
    assert not spans.ended
    assert http_server.requests[0].headers["traceparent"].endswith("-00")


@pytest.mark.parametrize(("known", "label"), [({"127.0.0.1"}, "127.0.0.1"), (set(), "other")])
def test_durations_are_counted_by_upstream(
    make_traced_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    http_server: Any,
    known: set[str],
    label: str,
) -> None:
    http_server.respond(b"pen")
    http_server.responses.append([b"nonsense"])
    app = make_traced_app(
        OTEL_TRACES_SAMPLER="always_off",
        HTTP_CLIENT_ALLOWED_NETWORKS="127.0.0.1",
        HTTP_CLIENT_ALLOWED_PORTS=http_server.port,
    )
    monkeypatch.setattr(conventions, "known_hosts", known)
    CALLS.reset()
    for number in range(2):
        with app.app_context(), suppress(UnreachableError):
            fetch(http_server.url, "POST" if number else "GET")
    assert {key: sum(numbers[:-1]) for key, numbers in CALLS.read(is_delta=False)[1].items()} == {
        ("GET", label, 200): 1,
        ("POST", label, ""): 1,
    }
