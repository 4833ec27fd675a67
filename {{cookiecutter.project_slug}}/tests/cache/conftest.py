from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.store import Store


@pytest.fixture
def store(make_app: Callable[..., Flask]) -> Store:
    """A store that nobody else uses: in memory, or where TEST_CACHE_URL says."""
    found: Store = make_app().extensions["cache"]
    return found
