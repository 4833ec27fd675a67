"""Export of log lines, to a list instead of a collector."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from flask import Flask
from opentelemetry._logs import SeverityNumber

from {{ cookiecutter.package_name }}.core.monitoring.otlp.log_exporter import (
    LogExporter,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

from .conftest import Spans


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, make_traced_app: Callable[..., Flask]) -> Any:
    """The application, and the records that its log lines became."""
    app = make_traced_app()
    exporter: Any = LogExporter("test", tracing.sdk.resource)
    records: list[Any] = []
    monkeypatch.setattr(exporter.processor, "on_emit", records.append)
    monkeypatch.setattr(tracing.sdk, "log_exporter", exporter)
    yield app, records
    exporter.processor.shutdown()


def test_line_of_a_request_is_exported_with_its_trace(exported: Any, spans: Spans) -> None:
    app, records = exported
    app.test_client().get("/ok/7")
    (record,) = [record.log_record for record in records if record.log_record.body == "request"]
    context = spans.named("GET /ok/<int:number>").context
    assert context
    assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)
    assert (record.severity_text, record.severity_number) == ("INFO", SeverityNumber.INFO)
    assert record.attributes["status"] == 200
    assert record.attributes["request_id"]
    assert not {"trace_id", "level", "event", "timestamp"} & record.attributes.keys()


def test_line_of_an_error_has_the_traceback(exported: Any) -> None:
    _, records = exported
    structlog.get_logger().error("wrong", values=[1], exc_info=ValueError())
    (record,) = [record.log_record for record in records if record.log_record.body == "wrong"]
    assert record.severity_number is SeverityNumber.ERROR
    assert "ValueError" in record.attributes["exception.stacktrace"]
    assert record.attributes["values"] == "[1]"
