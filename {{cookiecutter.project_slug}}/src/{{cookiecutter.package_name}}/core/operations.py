"""Operations of the database: counts for the request log, warnings, and listeners."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import structlog
from flask import Flask, g, has_request_context

from ..config import RENAMED, get_settings
# {% if cookiecutter.__metrics %}
from . import logs, monitoring
# {% else %}
from . import logs
# {% endif %}

RENAMED.update(
    DATABASE_REPEATED="REPEATED_QUERY_THRESHOLD",
    DATABASE_SLOW_MS="SLOW_QUERY_MS",
)


class Operation(NamedTuple):
    """A finished operation. Values may be confidential, so `statement` returns it without them."""

    name: str
    target: str
    statement: Callable[[], str]
    seconds: float
    error: Exception | None = None


class Operations:
    """What an application does with each operation, which the driver reports to `finished`."""

    def __init__(self, app: Flask) -> None:
        settings = get_settings(app)
        self.log = structlog.get_logger().bind()
        self.slow_ms = settings.SLOW_QUERY_MS
        self.repeated = settings.REPEATED_QUERY_THRESHOLD if app.debug else 0
        self.listeners: list[Callable[[Operation], None]] = []
        # It gets the names of collections or tables that have changed.
        self.on_change: Callable[..., object] = lambda *_: None
        app.extensions["operations"] = self

    def finished(self, operation: Operation) -> None:
        """Count an operation, call the listeners, and log it if it is slow or repeated.

        It is slow if it takes SLOW_QUERY_MS or longer. It is repeated if one request sends it
        REPEATED_QUERY_THRESHOLD times.
        """
        duration_ms = operation.seconds * 1000
        logs.add_metric("queries", 1)
        logs.add_metric("queries_ms", duration_ms)
        # {% if cookiecutter.__metrics %}
        monitoring.query_finished(operation.seconds, is_slow=duration_ms >= self.slow_ms)
        # {% endif %}
        for listener in self.listeners:
            listener(operation)
        if duration_ms >= self.slow_ms:
            statement = operation.statement()
            self.log.warning("slow query", statement=statement, duration_ms=round(duration_ms, 2))
        if self.repeated and has_request_context():
            statement = operation.statement()
            counts = g.setdefault("statement_counts", Counter())
            counts[statement] += 1
            if counts[statement] == self.repeated:
                self.log.warning("repeated query", statement=statement, times=self.repeated)
