"""Query counts and durations for the request log, and warnings about slow and repeated queries."""

from collections import Counter
from time import perf_counter
from typing import Any

import structlog
from flask import g, has_request_context
from sqlalchemy import Engine, event

# {% if cookiecutter.__metrics %}
from .. import logs, monitoring
# {% else %}
from .. import logs
# {% endif %}


def instrument(engine: Engine, *, slow_ms: float, repeated: int) -> None:
    """Add `queries` and `queries_ms` to the request log, and log slow and repeated queries.

    A statement is slow if it takes `slow_ms` or longer. It is repeated if one request sends it
    `repeated` times, as an N+1 query does; 0 turns this off. Parameters may be confidential, so
    they are not logged.
    """
    log = structlog.get_logger().bind()

    @event.listens_for(engine, "before_cursor_execute")
    def start_timer(*event: Any) -> None:
        event[0].info["started"] = perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def log_query(*event: Any) -> None:
        duration_ms = (perf_counter() - event[0].info["started"]) * 1000
        statement = event[2]
        logs.add_metric("queries", 1)
        logs.add_metric("queries_ms", duration_ms)
        # {% if cookiecutter.__metrics %}
        monitoring.query_finished(duration_ms / 1000, is_slow=duration_ms >= slow_ms)
        # {% endif %}
        if duration_ms >= slow_ms:
            log.warning("slow query", statement=statement, duration_ms=round(duration_ms, 2))
        if repeated and has_request_context():
            counts = g.setdefault("statement_counts", Counter())
            counts[statement] += 1
            if counts[statement] == repeated:
                log.warning("repeated query", statement=statement, times=repeated)
