from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core import logs
from {{ cookiecutter.package_name }}.core.cache.store import Store


@pytest.fixture
def store(make_app: Callable[..., Flask]) -> Store:
    """The store of a new application: in memory, or at TEST_CACHE_URL."""
    found: Store = make_app().extensions["cache"]
    return found


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The metrics of the cache, except times."""
    counts: Counter[str] = Counter()

    def add(name: str, amount: float) -> None:
        if name != "cache_ms":
            counts[name.removeprefix("cache_")] += int(amount)

    monkeypatch.setattr(logs, "add_metric", add)
    return counts
