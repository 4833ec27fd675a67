"""Circuit breaker: requests do not wait for the timeouts of a broker that has just failed."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from flask import has_request_context

# {% if cookiecutter.__monitoring %}
from .. import monitoring
# {% endif %}
from .jobs import BrokerUnavailable

# Seconds after a failure in which requests are rejected; then one of them calls the broker again.
OPEN_SECONDS = 1.0


class CircuitBreaker:
    """Records failed calls. After one it rejects requests, so that they do not occupy all threads.

    Workers, schedulers and commands are not rejected: no client waits for them.
    """

    def __init__(self) -> None:
        self.open_until = 0.0
        self.lock = Lock()

    def reject_if_open(self) -> None:
        """Raise `BrokerUnavailable` in a request soon after a failure."""
        if not self.open_until or not has_request_context():
            return
        with self.lock:
            now = monotonic()
            if now < self.open_until:
                raise BrokerUnavailable
            # Reject other requests until this one has called the broker.
            self.open_until = now + OPEN_SECONDS

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function and record whether it raised `BrokerUnavailable`."""
        try:
            result = function(*args)
        except BrokerUnavailable:
            self.open_until = monotonic() + OPEN_SECONDS
            # {% if cookiecutter.__monitoring %}
            monitoring.broker_called(failed=True)
            # {% endif %}
            raise
        # {% if cookiecutter.__monitoring %}
        if self.open_until:
            monitoring.broker_called(failed=False)
        # {% endif %}
        self.open_until = 0.0
        return result
