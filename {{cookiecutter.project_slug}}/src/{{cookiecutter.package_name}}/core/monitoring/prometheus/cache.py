"""Metrics of the cache."""

from collections.abc import Mapping

from ..conventions import CACHE_RESULTS
from .shared_files import Counter, Gauge, get_value

OPERATIONS = Counter("cache_operations", "Values that were read from the cache.", ["result"])
RESULTS = {name: OPERATIONS.labels(result) for name, result in CACHE_RESULTS.items()}
CIRCUIT = get_value(
    Gauge(
        "cache_circuit_open",
        "1 if a process does not call the cache after failures.",
        multiprocess_mode="livemax",
    )
)


def count_cache_operations(metrics: Mapping[str, float]) -> None:
    """Count the operations that were added up in `metrics`."""
    for name, amount in metrics.items():
        if counter := RESULTS.get(name):
            counter.inc(amount)


def cache_failed() -> None:
    """Record that the circuit breaker of the cache opens."""
    CIRCUIT.set(1)


def cache_recovered() -> None:
    """Record that the cache responds again."""
    CIRCUIT.set(0)
