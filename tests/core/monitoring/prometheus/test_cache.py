from collections.abc import Callable

from flask import Flask
from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.core.cache import get_store
from {{ cookiecutter.package_name }}.core.cache.store import FAILURE_THRESHOLD


def test_circuit_breaker_of_the_cache_is_a_metric(make_app: Callable[..., Flask]) -> None:
    with make_app().app_context():
        store = get_store()
        for _ in range(FAILURE_THRESHOLD):
            store.record_failure(OSError(), is_outage=True)
        assert REGISTRY.get_sample_value("cache_circuit_open") == 1
        store.circuit_open_until = 0
        store.call(lambda: None)
        assert REGISTRY.get_sample_value("cache_circuit_open") == 0
