"""Reports the connections of the pool to the metrics."""

from typing import Any

from pymongo.monitoring import ConnectionPoolListener

from .. import monitoring


class PoolMonitor(ConnectionPoolListener):
    """A listener of pymongo. It ignores the events that change no number."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def connection_created(self, _: Any) -> None:
        """Count a new connection, which is idle."""
        monitoring.connection_opened(self.limit)

    def connection_checked_out(self, _: Any) -> None:
        """Count a connection that is in use."""
        monitoring.connection_taken()

    def connection_checked_in(self, _: Any) -> None:
        """Count a connection that is idle again."""
        monitoring.connection_returned()

    def connection_closed(self, _: Any) -> None:
        """Count a connection that no longer exists."""
        monitoring.connection_closed()

    def pool_created(self, event: Any) -> None:
        """Ignore the event."""

    def pool_ready(self, event: Any) -> None:
        """Ignore the event."""

    def pool_cleared(self, event: Any) -> None:
        """Ignore the event."""

    def pool_closed(self, event: Any) -> None:
        """Ignore the event."""

    def connection_ready(self, event: Any) -> None:
        """Ignore the event."""

    def connection_check_out_started(self, event: Any) -> None:
        """Ignore the event."""

    def connection_check_out_failed(self, event: Any) -> None:
        """Ignore the event."""
