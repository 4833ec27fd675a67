"""Spans and metrics of the database's operations, without their values."""

from typing import TYPE_CHECKING

from flask import Flask
from opentelemetry.trace import SpanKind, get_current_span

from .instruments import Histogram
from .tracing import tracing

if TYPE_CHECKING:
    # It imports this package.
    from ...operations import Operation

SYSTEM = "{{ cookiecutter.database }}"
# Longer statements are cut.
MAX_LENGTH = 4000

QUERIES = Histogram(
    "db.client.operation.duration",
    "Duration of the operations of the database.",
    ["db.system.name", "db.operation.name"],
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)


def instrument(app: Flask) -> None:
    """Listen to the operations."""
    app.extensions["operations"].listeners.append(record)


def record(operation: "Operation") -> None:
    """Record the duration of an operation, and its span if the request has one."""
    QUERIES.record(operation.seconds, SYSTEM, operation.name)
    if not get_current_span().is_recording():
        return
    summary = f"{operation.name} {operation.target}".rstrip()
    span = tracing.start_child(summary, SpanKind.CLIENT, operation.seconds)
    span.set_attribute("db.system.name", SYSTEM)
    span.set_attribute("db.operation.name", operation.name)
    span.set_attribute("db.collection.name", operation.target)
    span.set_attribute("db.query.summary", summary)
    span.set_attribute("db.query.text", operation.statement()[:MAX_LENGTH])
    if operation.error:
        span.record_exception(operation.error)
    span.end()
