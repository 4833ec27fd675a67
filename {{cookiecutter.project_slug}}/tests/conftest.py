import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

# Where `app` and `make_app` are.
pytest_plugins = [
    # {% if cookiecutter.__cache %}
    "fixtures.cache",
    # {% endif %}
    # {% if cookiecutter.__cdn_peers %}
    "fixtures.cdn_peers",
    # {% endif %}
    # {% if cookiecutter.__database %}
    "fixtures.database",
    # {% endif %}
    # {% if cookiecutter.cache == "memcached" %}
    "fixtures.memcached",
    # {% endif %}
    # {% if cookiecutter.database == "none" %}
    "fixtures.no_database",
    # {% endif %}
    # {% if cookiecutter.__celery %}
    "fixtures.celery",
    # {% elif cookiecutter.task_queue == "rq-redis" %}
    "fixtures.rq",
    # {% endif %}
    # {% if cookiecutter.__example_jobs %}
    "fixtures.service",
    # {% endif %}
    # {% if cookiecutter.cache == "redis" %}
    "fixtures.redis",
    # {% endif %}
]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application."""
    return app.test_client()


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Read what was logged since the last call, a record a line."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
