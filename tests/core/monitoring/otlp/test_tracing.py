"""Spans of requests, and the sampler."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from opentelemetry.trace import SpanKind, get_tracer

from {{ cookiecutter.package_name }}.config import SettingsError

from .conftest import ENDPOINT, Spans

Make = Callable[..., Flask]
Logs = Callable[[], list[dict[str, Any]]]

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"


def test_request_is_a_span_with_its_route_and_no_confidential_value(
    make_traced_app: Make, spans: Spans
) -> None:
    client = make_traced_app().test_client()
    client.get("/ok/7?token=secret", headers={"Authorization": "secret"})
    span = spans.named("GET /ok/<int:number>")
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/ok/<int:number>",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    assert span.start_time
    assert span.end_time
    assert 0 < span.end_time - span.start_time < 1e9


def test_unknown_paths_and_methods_make_no_names(make_traced_app: Make, spans: Spans) -> None:
    client = make_traced_app().test_client()
    client.get("/reset/secret")
    client.open("/ok/7", method="BREW")
    names = {span.name for span in spans.ended}
    assert names == {"GET", "HTTP"}
    assert "secret" not in spans.exported


def test_error_has_its_type_and_not_its_message(make_traced_app: Make, spans: Spans) -> None:
    assert make_traced_app().test_client().get("/fail").status_code == 500
    span = spans.named("GET /fail")
    assert not span.status.is_ok
    assert dict(span.attributes or {})["error.type"] == "ValueError"
    assert [dict(event.attributes or {}) for event in span.events] == [
        {"exception.type": "ValueError"}
    ]
    assert "personal-data" not in spans.exported


def test_log_lines_have_the_ids(make_traced_app: Make, spans: Spans, read_logs: Logs) -> None:
    make_traced_app().test_client().get("/ok/7")
    (line,) = [line for line in read_logs() if line["event"] == "request"]
    context = spans.named("GET /ok/<int:number>").context
    assert context
    assert (line["trace_id"], line["span_id"]) == (
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
    )


def test_health_checks_are_no_spans(make_traced_app: Make, spans: Spans) -> None:
    make_traced_app().test_client().get("/health/live")
    assert not spans.ended


@pytest.mark.parametrize(
    ("sampler", "share"),
    [
        ("always_on", 100),
        ("parentbased_always_off", 0),
        ("traceidratio", 50),
        ("parentbased_traceidratio", 50),
    ],
)
def test_sampler_decides(
    make_traced_app: Make, spans: Spans, read_logs: Logs, sampler: str, share: int
) -> None:
    client = make_traced_app(
        OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.5", RATE_LIMIT="1000/second"
    ).test_client()
    for _ in range(100):
        client.get("/ok/7")
    assert abs(len(spans.ended) - share) < 30 * (0 < share < 100) + 1
    lines = [line for line in read_logs() if line["event"] == "request"]
    assert len({line["trace_id"] for line in lines}) == 100


def test_traceparent_of_a_client_is_ignored(make_traced_app: Make, spans: Spans) -> None:
    client = make_traced_app(OTEL_TRACES_SAMPLER="parentbased_always_off").test_client()
    client.get("/ok/7", headers={"traceparent": SAMPLED})
    assert not spans.ended


@pytest.mark.parametrize(
    ("sampler", "header", "expected"),
    [
        ("parentbased_always_off", SAMPLED, True),
        ("parentbased_always_on", NOT_SAMPLED, False),
        ("always_off", SAMPLED, False),
        ("always_on", NOT_SAMPLED, True),
    ],
)
def test_trusted_traceparent_is_continued(
    make_traced_app: Make,
    spans: Spans,
    sampler: str,
    header: str,
    *,
    expected: bool,
) -> None:
    app = make_traced_app(TRUSTED_TRACEPARENT="1", OTEL_TRACES_SAMPLER=sampler)
    app.test_client().get("/ok/7", headers={"traceparent": header})
    assert len(spans.ended) == expected
    for span in spans.ended:
        assert span.parent
        assert f"{span.parent.trace_id:032x}" == TRACE_ID
        assert f"{span.parent.span_id:016x}" == SPAN_ID


def test_malformed_traceparent_starts_a_trace(make_traced_app: Make, spans: Spans) -> None:
    client = make_traced_app(TRUSTED_TRACEPARENT="1").test_client()
    client.get("/ok/7", headers={"traceparent": "00-nonsense"})
    assert spans.named("GET /ok/<int:number>").parent is None


def test_own_spans_belong_to_the_request(make_traced_app: Make, spans: Spans) -> None:
    app = make_traced_app()

    def own() -> str:
        with get_tracer("own").start_as_current_span("price"):
            return ""

    vars(own)["access_rule"] = None
    app.add_url_rule("/own", "own", own)
    app.test_client().get("/own")
    assert spans.named("price").parent == spans.named("GET /own").context


def test_without_endpoint_the_sdk_is_not_imported() -> None:
    code = (
        "import sys\nfrom {{ cookiecutter.package_name }} import create_app\n"
        "create_app().test_client().get('/health/live')\n"
        # Redis' client imports another part of the SDK if it is installed.
        "assert not {'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & sys.modules.keys()"
    )
    variables = {"FLASK_DEBUG": "1", "PYTHONPATH": "src", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)


@pytest.mark.parametrize("endpoint", ["collector:4318", f"{ENDPOINT}?x", "http://user:password@h"])
def test_malformed_endpoint_is_rejected(make_app: Make, endpoint: str) -> None:
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        make_app(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
