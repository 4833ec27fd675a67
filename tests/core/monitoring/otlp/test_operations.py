"""Spans of the database's operations."""

from collections.abc import Callable

from flask import Flask
from opentelemetry.trace import SpanKind

from {{ cookiecutter.package_name }}.core.operations import Operation

from .conftest import Spans


def test_operation_is_a_span(make_traced_app: Callable[..., Flask], spans: Spans) -> None:
    app = make_traced_app()

    def query() -> str:
        for name, error in (("find", None), ("insert", RuntimeError("duplicate"))):
            operation = Operation(name, "note", lambda: "find note filter={id: ?}", 0.001, error)
            app.extensions["operations"].finished(operation)
        return ""

    vars(query)["access_rule"] = None
    app.add_url_rule("/query", "query", query)
    assert app.test_client().get("/query").status_code == 200
    request, span = spans.named("GET /query"), spans.named("find note")
    assert span.kind is SpanKind.CLIENT
    assert span.parent == request.context
    assert dict(span.attributes or {}) == {
        "db.system.name": "{{ cookiecutter.database }}",
        "db.operation.name": "find",
        "db.collection.name": "note",
        "db.query.summary": "find note",
        "db.query.text": "find note filter={id: ?}",
    }
    assert not spans.named("insert note").status.is_ok


def test_operation_outside_of_a_request_is_no_span(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    make_traced_app().extensions["operations"].finished(Operation("find", "note", str, 0.001))
    assert not spans.ended
