"""Watches the statements that are sent: how many, how long, the slow and the repeated ones."""

from collections import Counter
from time import perf_counter
from typing import Any

import structlog
from flask import g, has_request_context
from sqlalchemy import Engine, event

from .. import logs


def watch(engine: Engine, *, slow_ms: float, repeated: int) -> None:
    """Add `queries` and `queries_ms` to each request's log line, and warn of two kinds.

    Those that take `slow_ms` or longer; and those that one request sends `repeated` times, which is
    how N+1 shows (0: never). Parameters are not logged: they may be secrets.
    """
    log = structlog.get_logger().bind()

    @event.listens_for(engine, "before_cursor_execute")
    def start(*event: Any) -> None:
        event[0].info["started"] = perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def finish(*event: Any) -> None:
        duration_ms = (perf_counter() - event[0].info["started"]) * 1000
        statement = event[2]
        logs.add("queries", 1)
        logs.add("queries_ms", duration_ms)
        if duration_ms >= slow_ms:
            log.warning("slow query", statement=statement, duration_ms=round(duration_ms, 2))
        if repeated and has_request_context():
            shapes = g.setdefault("shapes", Counter())
            shapes[statement] += 1
            if shapes[statement] == repeated:
                log.warning("repeated query", statement=statement, times=repeated)
