"""Spans and metrics of SQL statements. Parameters may be confidential, so they are not recorded."""

import re
from functools import lru_cache
from time import perf_counter
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import SpanKind, get_current_span
from sqlalchemy import Engine, ExceptionContext, QueuePool, event

from .instruments import Histogram
from .tracing import tracing

# The first table of a statement.
TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([\w.\"`]+)", re.IGNORECASE)
# Longer statements are cut.
MAX_LENGTH = 4000

QUERIES = Histogram(
    "db.client.operation.duration",
    "Duration of SQL statements.",
    ["db.system.name", "db.operation.name"],
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)


@lru_cache(1024)
def summarize(statement: str) -> tuple[str, str]:
    """Return operation and first table, such as `SELECT notes`, and the operation alone."""
    operation = statement.split(maxsplit=1)[0].upper() if statement.strip() else ""
    table = TABLE.search(statement)
    return f"{operation} {table[1]}" if table else operation, operation


def instrument(engine: Engine) -> None:
    """Listen to the engine. `query_logging` stores when a statement started."""
    system = engine.dialect.name

    def record(connection: Any, statement: str, error: BaseException | None = None) -> None:
        summary, operation = summarize(statement)
        seconds = perf_counter() - connection.info["started"]
        QUERIES.record(seconds, system, operation)
        if not get_current_span().is_recording():
            return
        span = tracing.start_child(summary, SpanKind.CLIENT, seconds)
        span.set_attribute("db.system.name", system)
        span.set_attribute("db.operation.name", operation)
        span.set_attribute("db.query.summary", summary)
        span.set_attribute("db.query.text", statement[:MAX_LENGTH])
        if error:
            span.record_exception(error)
        span.end()

    @event.listens_for(engine, "after_cursor_execute")
    def executed(*event: Any) -> None:
        record(event[0], event[2])

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        if context.connection and context.statement:
            record(context.connection, context.statement, context.original_exception)


def observe_pool(meter: Meter, engine: Engine) -> None:
    """Export the number of connections. The pool of a file has no such numbers."""

    def count(_: CallbackOptions) -> list[Observation]:
        pool = engine.pool
        if not isinstance(pool, QueuePool):
            return []
        used, idle = pool.checkedout(), pool.checkedin()
        return [Observation(used, {"state": "used"}), Observation(idle, {"state": "idle"})]

    meter.create_observable_up_down_counter(
        "db.client.connection.count", [count], "{connection}", "Open connections."
    )
