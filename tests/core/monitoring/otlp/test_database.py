"""Spans of SQL statements."""

from collections.abc import Callable

import pytest
from flask import Flask
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from {{ cookiecutter.package_name }}.core.database import get_session
from {{ cookiecutter.package_name }}.core.monitoring.otlp.database import (
    summarize,
)

from .conftest import Spans


def test_statement_is_a_span_without_parameters(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    app = make_traced_app()

    def query() -> str:
        with pytest.raises(SQLAlchemyError):
            get_session().execute(text("SELECT * FROM missing"))
        get_session().rollback()
        return str(get_session().scalar(text("SELECT :value"), {"value": "personal-data"}))

    vars(query)["access_rule"] = None
    app.add_url_rule("/query", "query", query)
    assert app.test_client().get("/query").text == "personal-data"
    request, span = spans.named("GET /query"), spans.named("SELECT")
    assert span.kind is SpanKind.CLIENT
    assert span.parent == request.context
    attributes = dict(span.attributes or {})
    assert str(attributes.pop("db.query.text")).startswith("SELECT ")
    assert attributes == {
        "db.system.name": app.extensions["database"].kw["bind"].dialect.name,
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT",
    }
    assert "personal-data" not in spans.exported
    failed = spans.named("SELECT missing")
    assert not failed.status.is_ok
    assert dict(failed.attributes or {})["error.type"]
    assert request.start_time
    assert span.start_time
    assert request.start_time <= span.start_time


def test_statement_outside_of_a_request_is_no_span(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    with make_traced_app().app_context():
        get_session().execute(text("SELECT 1"))
    assert not spans.ended


@pytest.mark.parametrize(
    ("statement", "summary"),
    [
        ("SELECT a.b FROM a JOIN c", "SELECT a"),
        ('insert into "order" (x) VALUES (1)', 'INSERT "order"'),
        ("UPDATE a SET b=1", "UPDATE a"),
        ("COMMIT", "COMMIT"),
        (" ", ""),
    ],
)
def test_summary_names_operation_and_table(statement: str, summary: str) -> None:
    assert summarize(statement) == (summary, summary.partition(" ")[0])
