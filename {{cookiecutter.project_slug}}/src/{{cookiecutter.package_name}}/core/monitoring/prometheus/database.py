"""Metrics of the database: statements and connections."""

from typing import Any

from sqlalchemy import Engine, event

from ....config import Settings
from .shared_files import Counter, Gauge, Histogram, get_value

QUERIES = Histogram(
    "db_client_operation_duration_seconds",
    "Duration of SQL statements.",
    # Upper bounds of OpenTelemetry's semantic conventions.
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)
SLOW_QUERIES = Counter("db_client_slow_queries", "Statements that took SLOW_QUERY_MS or longer.")
CONNECTIONS = Gauge(
    "db_client_connection_count",
    "Open connections.",
    ["state"],
    multiprocess_mode="livesum",
)
USED, IDLE = get_value(CONNECTIONS.labels("used")), get_value(CONNECTIONS.labels("idle"))
# {% if cookiecutter.__pooled %}
CONNECTION_LIMIT = Gauge(
    "db_client_connection_max",
    "Limit of the connections of all processes that have used the database.",
    multiprocess_mode="livesum",
)
# {% endif %}


def query_finished(seconds: float, *, is_slow: bool) -> None:
    """Observe a statement."""
    QUERIES.observe(seconds)
    if is_slow:
        SLOW_QUERIES.inc()


def observe_pool(engine: Engine, settings: Settings) -> None:
    """Count the connections of this process; the pool calls these functions for each of them."""

    @event.listens_for(engine, "connect")
    def opened(*_: Any) -> None:
        IDLE.inc(1)
        # {% if cookiecutter.__pooled %}
        # Set here and not at the start, since processes are forked later.
        CONNECTION_LIMIT.set(settings.DATABASE_POOL_SIZE + settings.DATABASE_MAX_OVERFLOW)
        # {% endif %}

    @event.listens_for(engine, "checkout")
    def taken(*_: Any) -> None:
        IDLE.inc(-1)
        USED.inc(1)

    @event.listens_for(engine, "checkin")
    def returned(*_: Any) -> None:
        USED.inc(-1)
        IDLE.inc(1)

    @event.listens_for(engine, "close")
    def closed(*_: Any) -> None:
        IDLE.inc(-1)
