"""Sending of jobs: after the commit if a transaction is open, otherwise immediately."""

from collections.abc import Callable

# {% if cookiecutter.__sql %}
from flask import has_app_context
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..database import on_commit
# {% endif %}
# {% if cookiecutter.database == "mongodb" %}
from pymongo.errors import ConnectionFailure, ExecutionTimeout

# {% elif cookiecutter.database == "cassandra" %}
from ..cassandra import UNAVAILABLE
# {% endif %}
from .circuit_breaker import CircuitBreaker

# By default a job that raises one of these errors is retried.
TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    ConnectionError,
    TimeoutError,
    # {% if cookiecutter.__sql %}
    OperationalError,
    PoolTimeoutError,
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    *UNAVAILABLE,
    # {% endif %}
    # {% if cookiecutter.database == "mongodb" %}
    ConnectionFailure,
    ExecutionTimeout,
    # {% endif %}
)


def send_on_commit(
    circuit: CircuitBreaker,
    send: Callable[[], object],
    ping: Callable[[], object],
) -> None:
    """Call `send` after the commit. Before it call `ping`: if it raises, nothing is committed."""
    circuit.reject_if_open()
    # {% if cookiecutter.__sql %}
    if has_app_context():
        on_commit(lambda: circuit.call(send), check=lambda: circuit.call(ping))
        return
    # {% endif %}
    circuit.call(send)
