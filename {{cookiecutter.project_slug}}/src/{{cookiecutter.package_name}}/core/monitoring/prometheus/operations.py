"""Metrics of the database: operations and connections."""

from .shared_files import Counter, Gauge, Histogram, get_value

QUERIES = Histogram(
    "db_client_operation_duration_seconds",
    "Duration of the operations of the database.",
    # Upper bounds of OpenTelemetry's semantic conventions.
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)
SLOW_QUERIES = Counter("db_client_slow_queries", "Operations that took SLOW_QUERY_MS or longer.")
CONNECTIONS = Gauge(
    "db_client_connection_count",
    "Open connections.",
    ["state"],
    multiprocess_mode="livesum",
)
USED, IDLE = get_value(CONNECTIONS.labels("used")), get_value(CONNECTIONS.labels("idle"))
CONNECTION_LIMIT = Gauge(
    "db_client_connection_max",
    "Limit of the connections of all processes that have used the database.",
    multiprocess_mode="livesum",
)


def query_finished(seconds: float, *, is_slow: bool) -> None:
    """Observe an operation."""
    QUERIES.observe(seconds)
    if is_slow:
        SLOW_QUERIES.inc()


def connection_opened(limit: int) -> None:
    """Count a new connection, which is idle."""
    IDLE.inc(1)
    # Set here and not at the start, since processes are forked later.
    CONNECTION_LIMIT.set(limit)


def connection_taken() -> None:
    """Count a connection that is in use."""
    IDLE.inc(-1)
    USED.inc(1)


def connection_returned() -> None:
    """Count a connection that is idle again."""
    USED.inc(-1)
    IDLE.inc(1)


def connection_closed() -> None:
    """Count a connection that was closed while it was idle."""
    IDLE.inc(-1)
