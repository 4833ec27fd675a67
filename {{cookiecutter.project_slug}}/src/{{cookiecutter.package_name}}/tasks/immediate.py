"""When jobs are sent, with no transactions to wait for: at once."""

from collections.abc import Callable

# What is worth another attempt of any job.
TRANSIENT = (ConnectionError, TimeoutError)


def deliver(_check: Callable[[], None], send: Callable[[], None]) -> None:
    """Send."""
    send()
