"""Metrics of statements and connections."""

import gc
from collections.abc import Callable

from flask import Flask
from prometheus_client import REGISTRY
from sqlalchemy import text

from {{ cookiecutter.package_name }}.core import database
from {{ cookiecutter.package_name }}.core.database import get_engine


def value(name: str, **labels: str) -> float:
    """Return the value of a metric in this process."""
    return REGISTRY.get_sample_value(name, labels) or 0


def connections() -> tuple[float, float]:
    """Return the number of used and of idle connections."""
    name = "db_client_connection_count"
    return value(name, state="used"), value(name, state="idle")


def test_statements_are_timed(make_app: Callable[..., Flask]) -> None:
    name = "db_client_operation_duration_seconds_count"
    before, slow = value(name), value("db_client_slow_queries_total")
    with make_app(SLOW_QUERY_MS="0").app_context():
        database.get_session().execute(text("SELECT 1"))
    assert value(name) == before + 1
    assert value("db_client_slow_queries_total") == slow + 1


def test_connections_are_counted(make_app: Callable[..., Flask]) -> None:
    # It returns the connections of sessions that other tests have left.
    gc.collect()
    used, idle = connections()
    with make_app().app_context():
        engine = get_engine()
        with engine.connect(), engine.connect() as second:
            assert connections() == (used + 2, idle)
            second.invalidate()
        assert connections() == (used, idle + 1)
        database.ping(engine)
        assert connections() == (used, idle + 1)
        # The pool gives the place of the invalid connection to a new one.
        with engine.connect():
            assert connections() == (used + 1, idle + 1)
        engine.dispose()
        assert connections() == (used, idle)
    # {% if cookiecutter.__pooled %}
    assert value("db_client_connection_max") == 10
    # {% endif %}
