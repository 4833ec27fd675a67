from collections.abc import Callable

from flask import Flask
from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.core.mongodb import get_database


def count(state: str) -> float:
    """Return a number of connections in this process."""
    return REGISTRY.get_sample_value("db_client_connection_count", {"state": state}) or 0


def test_connections_of_the_pool_are_counted(make_app: Callable[..., Flask]) -> None:
    used, idle = count("used"), count("idle")
    app = make_app(DATABASE_POOL_SIZE="7")
    with app.app_context():
        get_database().command("ping")
        assert (count("used"), count("idle")) == (used, idle + 1)
        assert REGISTRY.get_sample_value("db_client_connection_max") == 7
        app.extensions["mongodb"].close()
    assert (count("used"), count("idle")) == (used, idle)
