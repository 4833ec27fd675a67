"""Polling for the migration lock."""

from collections.abc import Callable
from time import monotonic, sleep

INTERVAL = 0.2


def poll(acquire: Callable[[], bool], timeout: float = 60) -> None:
    """Call `acquire` until it returns true; raise `TimeoutError` after `timeout` seconds."""
    deadline = monotonic() + timeout
    while not acquire():
        if monotonic() > deadline:
            raise TimeoutError(f"another migration has been running for {timeout:g} seconds")
        sleep(INTERVAL)
