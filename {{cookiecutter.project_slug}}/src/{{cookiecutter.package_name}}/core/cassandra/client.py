"""The client: one connection to each node, opened on first use and after each fork."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from threading import Lock
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from cassandra import (
    OperationTimedOut,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    UnresolvableContactPoints,
    WriteFailure,
    WriteTimeout,
)
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage
from flask import g, has_request_context

from ...config import Settings
from ..operations import Operation, Operations
from .options import ClusterURL, cluster_options

UNAVAILABLE: tuple[type[Exception], ...] = (
    ConnectionException,
    IsBootstrappingErrorMessage,
    NoHostAvailable,
    OperationTimedOut,
    OverloadedErrorMessage,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    UnresolvableContactPoints,
    WriteFailure,
    WriteTimeout,
)

# Seconds for which a failed attempt to connect answers for others.
RETRY_INTERVAL = 1.0

TABLE = re.compile(r"(?:FROM|INTO|UPDATE) (\w+)")

Parameters = Sequence[Any]
Statement = tuple[str, Parameters]


def open_session(options: dict[str, Any], keyspace: str | None = None) -> Any:
    """Connect to the cluster; a keyspace must exist."""
    cluster = Cluster(**options)
    try:
        session = cluster.connect(keyspace)
    except Exception:
        cluster.shutdown()
        raise
    # Private: the timeout of `prepare`, which profiles do not set.
    session._default_timeout = options["execution_profiles"][EXEC_PROFILE_DEFAULT].request_timeout
    return session


class Sent(NamedTuple):
    """A statement that was sent."""

    query: str
    started: float
    future: Any
    ended: list[float]

    def end(self, _: object) -> None:
        """Keep the time of the response; the driver calls this in its own thread."""
        self.ended.append(perf_counter())

    def seconds(self) -> float:
        """Return the time until the response."""
        return (self.ended[0] if self.ended else perf_counter()) - self.started


class Client:
    """Sends prepared statements, in CQL with `?` for each parameter.

    A statement without a condition may run twice after a lost connection: write values, not
    differences. `when` and `at` add a condition or a time to a statement.
    """

    operations: Operations

    def __init__(self, url: ClusterURL, settings: Settings) -> None:
        self.keyspace = url.keyspace
        self.has_conditions = settings.DATABASE_LIGHTWEIGHT_TRANSACTIONS
        self.options = cluster_options(url, settings)
        self.timeout = settings.DATABASE_STATEMENT_TIMEOUT
        self.concurrency = settings.DATABASE_CONCURRENCY
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Start without connections: processes cannot share them."""
        self.session: Any = None
        self.prepared: dict[str, Any] = {}
        self.lock = Lock()
        self.error: Exception | None = None
        self.failed_at = 0.0

    def close(self) -> None:
        """Close the connections."""
        session = self.session
        self.reset()
        if session:
            session.cluster.shutdown()

    def connect(self) -> Any:
        """Return the session of this process.

        While the cluster is unreachable, one thread in a second tries; the others fail immediately.
        """
        if self.session:
            return self.session
        with self.lock:
            if not self.session:
                if self.error and monotonic() - self.failed_at < RETRY_INTERVAL:
                    raise self.error
                try:
                    self.session = open_session(self.options, self.keyspace)
                except UNAVAILABLE as error:
                    self.error, self.failed_at = error, monotonic()
                    raise
        return self.session

    def execute(self, query: str, *parameters: Any) -> list[Any]:
        """Execute a statement and return its rows."""
        return self.finish(self.send(query, parameters))

    def execute_if(self, statement: Statement) -> bool:
        """Execute a statement and return whether its condition was true."""
        query, parameters = statement
        return is_applied(self.execute(query, *parameters))

    def execute_batch(self, statements: Sequence[Statement]) -> None:
        """Execute statements in a logged batch: sooner or later all of them, or none."""
        self.execute_if(batch(statements))

    def execute_directly(self, query: str) -> None:
        """Execute a statement that changes tables, without a time limit."""
        self.connect().execute(query, timeout=None)

    def table_names(self) -> list[str]:
        """Return the names of the tables of the keyspace."""
        return [*self.connect().cluster.metadata.keyspaces[self.keyspace].tables]

    def stream(self, query: str, *parameters: Any, page_size: int = 1000) -> Iterator[Any]:
        """Yield the rows of a partition, `page_size` in memory at a time."""
        bound = self.bind(query, parameters)
        bound.fetch_size = page_size
        started = perf_counter()
        result = self.connect().execute(bound, timeout=self.remaining())
        self.report(query, perf_counter() - started)
        yield from result

    def execute_many(self, statements: Iterable[Statement]) -> Iterator[list[Any]]:
        """Execute idempotent statements and yield the rows of each, in their order.

        At most DATABASE_CONCURRENCY of them are sent and not yet read.
        """
        sent: deque[Sent] = deque()
        for query, parameters in statements:
            if len(sent) >= self.concurrency:
                yield self.finish(sent.popleft())
            sent.append(self.send(query, parameters))
        while sent:
            yield self.finish(sent.popleft())

    def when(self, condition: str, expected: Parameters, statement: Statement) -> Statement:
        """Return a statement with a condition, such as `IF version = ?`: see `is_applied`.

        It is a lightweight transaction. If those are off, the statement has no condition.
        """
        query, parameters = statement
        if not self.has_conditions:
            return statement
        return f"{query} {condition}", (*parameters, *expected)

    def at(self, microseconds: int, statement: Statement) -> Statement:
        """Return an INSERT or DELETE that counts as sent at a time: the last one remains."""
        query, parameters = statement
        if not self.has_conditions:
            return statement
        if query.startswith("DELETE"):
            return query.replace(" WHERE", " USING TIMESTAMP ? WHERE", 1), (
                microseconds,
                *parameters,
            )
        return f"{query} USING TIMESTAMP ?", (*parameters, microseconds)

    def ping(self) -> None:
        """Raise an exception if no node responds."""
        self.connect().execute("SELECT key FROM system.local", timeout=self.timeout)

    def send(self, query: str, parameters: Parameters) -> Sent:
        """Send a statement."""
        bound = self.bind(query, parameters)
        bound.is_idempotent = " IF " not in query
        session, timeout = self.connect(), self.remaining()
        sent = Sent(query, perf_counter(), session.execute_async(bound, timeout=timeout), [])
        sent.future.add_callbacks(sent.end, sent.end)
        return sent

    def bind(self, query: str, parameters: Parameters) -> Any:
        """Return a prepared statement with its parameters. Pages are for `stream` only."""
        statement = self.prepared.get(query)
        if statement is None:
            session = self.connect()
            self.remaining()
            statement = self.prepared[query] = session.prepare(query)
        bound = statement.bind(parameters)
        bound.fetch_size = None
        return bound

    def remaining(self) -> float:
        """Return the time for the next call.

        After a timeout, the other calls of a request fail immediately.
        """
        if has_request_context() and "database_unresponsive" in g:
            raise OperationTimedOut({}, None)
        return self.timeout

    def finish(self, sent: Sent) -> list[Any]:
        """Wait for the rows of a statement and report it."""
        error = None
        try:
            return list(sent.future.result())
        except Exception as raised:
            error = raised
            if has_request_context() and isinstance(raised, (OperationTimedOut, NoHostAvailable)):
                g.database_unresponsive = True
            raise
        finally:
            self.report(sent.query, sent.seconds(), error)

    def report(self, query: str, seconds: float, error: Exception | None = None) -> None:
        """Report a statement, which has no values, to the log, metrics and spans."""
        name, table = describe(query)
        self.operations.finished(Operation(name, table, lambda: query, seconds, error))


def create_client(name: str, settings: Settings) -> Client:
    """Create the client for the URL in a setting."""
    return Client(ClusterURL.parse(getattr(settings, name)), settings)


@cache
def describe(query: str) -> tuple[str, str]:
    """Return the first word of a statement and the name of its table."""
    found = TABLE.search(query)
    return query.split(maxsplit=1)[0], found[1] if found else ""


def batch(statements: Sequence[Statement]) -> Statement:
    """Return a logged batch of statements: sooner or later, all of them are executed or none."""
    text = "; ".join(query for query, _ in statements)
    values = [value for _, parameters in statements for value in parameters]
    return f"BEGIN BATCH {text}; APPLY BATCH", values


def is_applied(rows: Sequence[Any]) -> bool:
    """Return whether the condition of a statement was true, from the rows that it returned."""
    return not rows or bool(rows[0][0])
