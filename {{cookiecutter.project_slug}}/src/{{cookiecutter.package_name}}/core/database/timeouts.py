"""Client-side timeouts for a database server that hangs.

Such a server keeps its connections open and its machine acknowledges packets, so neither
`statement_timeout` nor keepalives nor `tcp_user_timeout` end a call.
"""

import logging
from time import monotonic
from typing import Any

from flask import g, has_request_context, request
from sqlalchemy import URL, Engine, QueuePool, create_engine, event

from ...config import RENAMED, Settings
from ..worker_threads import STARTED

RENAMED.update(DATABASE_POOL_OVERFLOW="DATABASE_MAX_OVERFLOW")

# Seconds that a request has for the database if it has already waited for something else.
MINIMUM = 0.5

# SQLAlchemy names the logger of a pool after the module of its class. Others log warnings only.
logging.getLogger(f"{__name__}.Pool").setLevel(logging.WARNING)


class Timeouts:
    """How long the calls of an engine may take, in seconds."""

    def __init__(self, settings: Settings) -> None:
        self.request = settings.DATABASE_TIMEOUT
        self.connect = settings.DATABASE_CONNECT_TIMEOUT
        # Outside of requests, the server cancels a slow statement first.
        self.default = max(self.request, settings.DATABASE_STATEMENT_TIMEOUT + 1)

    def remaining(self) -> float:
        """Return the time for the next call.

        All calls of a request share one deadline until the server responds. After a timeout, the
        other calls of the request fail immediately.
        """
        if not has_request_context():
            return self.default
        if "database_unresponsive" in g:
            return 0.0
        if "database_responded" in g:
            return self.request
        now = monotonic()
        if "database_deadline" not in g:
            started = request.environ.get(STARTED, now)
            g.database_deadline = max(started + self.request, now + MINIMUM)
        deadline: float = g.database_deadline
        return max(0.0, deadline - now)

    def remaining_for_lock(self) -> float:
        """Return the time for a lock, such as the cache's, that leaves some for the database."""
        return max(0.0, self.remaining() - MINIMUM)

    def remaining_to_connect(self) -> float:
        """Return the time to open a connection or to get one from the pool."""
        return min(self.connect, self.remaining())


def mark_responsive(*_: Any) -> None:
    """Give each of the request's next calls the whole time: a connection is ready."""
    if has_request_context():
        g.database_responded = True


def mark_unresponsive() -> None:
    """Let the request's next calls fail immediately: the server did not respond in time."""
    if has_request_context():
        g.database_unresponsive = True


def create_pooled_engine(
    url: URL, settings: Settings, timeouts: Timeouts, **options: Any
) -> Engine:
    """Create an engine whose pool checks connections before use."""

    class Pool(QueuePool):
        """A pool that waits for a connection no longer than the request has time for."""

        @property
        def _timeout(self) -> float:
            return timeouts.remaining_to_connect()

        # Private: `pool_timeout` is the same for all requests.
        @_timeout.setter
        def _timeout(self, _: float) -> None: ...

    engine = create_engine(
        url,
        poolclass=Pool,
        pool_size=settings.DATABASE_POOL_SIZE,
        max_overflow=settings.DATABASE_MAX_OVERFLOW,
        pool_recycle=settings.DATABASE_POOL_RECYCLE,
        pool_pre_ping=settings.DATABASE_POOL_PRE_PING,
        hide_parameters=not settings.DEBUG,
        **options,
    )
    event.listen(engine, "checkout", mark_responsive)
    return engine
