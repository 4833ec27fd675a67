"""Connections of psycopg 3 with timeouts, and without transactions for queries."""

from collections.abc import Generator
from select import POLLIN, poll
from time import monotonic
from typing import Any, Self

import psycopg
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus

from .timeouts import Timeouts, mark_unresponsive

# A connection is pinged before use if the server has not responded for this many seconds.
PING_AFTER = 1.0


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose calls time out when the request has no time left.

    A transaction starts with the first statement that may write: a query alone needs no BEGIN and
    no ROLLBACK, at which psycopg discards all prepared statements.
    """

    timeouts: Timeouts  # set by a subclass for each engine
    needs_transaction = True  # of the next statement
    last_response = 0.0

    @classmethod
    # Private: the driver's own timeout is in whole seconds, and at least two.
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, Self]:
        """Connect to one of the server's IP addresses before the timeout."""
        deadline = monotonic() + cls.timeouts.remaining_to_connect()
        connecting: Any = super()._connect_gen(conninfo)
        ready = None
        try:
            while monotonic() < deadline:
                ready = yield connecting.send(ready)
        except StopIteration as connected:
            connection: Self = connected.value
            return connection
        raise psycopg.OperationalError("the server did not respond in time")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for a response; close the connection after a timeout."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = self.timeouts.remaining()
        try:
            result = super().wait(gen, interval, seconds)
        # Private: psycopg has no public name for this exception.
        except _WaitTimeout:
            mark_unresponsive()
            self.pgconn.finish()
            reason = f"the server did not respond within {seconds:.1f} s"
            raise psycopg.OperationalError(reason) from None

        self.last_response = monotonic()
        return result

    # Private: with `autocommit` instead, SQL from other places would run without a transaction.
    def _start_query(self) -> Generator[Any, Any]:
        """Start a transaction, unless the statement needs none."""
        if self.needs_transaction:
            yield from super()._start_query()
        self.needs_transaction = True

    def commit(self) -> None:
        """Commit the transaction if there is one: without one, the server sends no response."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().commit()

    def rollback(self) -> None:
        """End the transaction if there is one."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def is_alive(self) -> bool:
        """Return whether the server has just responded and has not closed the connection since.

        An idle connection receives nothing until the server closes it.
        """
        if monotonic() - self.last_response > PING_AFTER:
            return False
        received = poll()
        received.register(self.fileno(), POLLIN)
        return not received.poll(0)


class RetryingCursor(psycopg.Cursor[Any]):
    """A cursor that repeats a query whose prepared statement a migration has made invalid.

    PostgreSQL rejects such a statement with this error after a change of a column's type. In a
    transaction, all statements fail after the error, and its rollback discards the statement.
    """

    def execute(self, *arguments: Any, **options: Any) -> Self:
        """Execute a statement."""
        try:
            return super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                raise
            self.connection.execute("DEALLOCATE ALL")
            return super().execute(*arguments, **options)
