"""Metrics of operations and connections."""

from collections.abc import Callable

from flask import Flask
from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.core import monitoring
from {{ cookiecutter.package_name }}.core.operations import Operation


def value(name: str, **labels: str) -> float:
    """Return the value of a metric in this process."""
    return REGISTRY.get_sample_value(name, labels) or 0


def connections() -> tuple[float, float]:
    """Return the number of used and of idle connections."""
    name = "db_client_connection_count"
    return value(name, state="used"), value(name, state="idle")


def test_operations_are_timed(make_app: Callable[..., Flask]) -> None:
    name = "db_client_operation_duration_seconds_count"
    before, slow = value(name), value("db_client_slow_queries_total")
    operations = make_app(SLOW_QUERY_MS="1").extensions["operations"]
    operations.finished(Operation("find", "note", str, 0.0005))
    operations.finished(Operation("find", "note", str, 0.001))
    assert value(name) == before + 2
    assert value("db_client_slow_queries_total") == slow + 1


def test_connections_are_counted() -> None:
    used, idle = connections()
    monitoring.connection_opened(10)
    assert connections() == (used, idle + 1)
    monitoring.connection_taken()
    assert connections() == (used + 1, idle)
    monitoring.connection_returned()
    monitoring.connection_closed()
    assert connections() == (used, idle)
    assert value("db_client_connection_max") == 10
