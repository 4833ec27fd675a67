import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.config import ENV_NAMES, Settings

# Modules with fixtures, such as `app` and `make_app`.
pytest_plugins = [
    # {% if cookiecutter.__auth %}
    "fixtures.auth",
    # {% endif %}
    # {% if cookiecutter.__cache %}
    "fixtures.cache",
    # {% endif %}
    # {% if cookiecutter.__cdn_peers %}
    "fixtures.cdn_peers",
    # {% endif %}
    # {% if cookiecutter.__sql %}
    "fixtures.database",
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    "fixtures.cassandra",
    # {% endif %}
    # {% if cookiecutter.database == "mongodb" %}
    "fixtures.mongodb",
    # {% endif %}
    # {% if cookiecutter.__nosql %}
    "fixtures.operations",
    # {% endif %}
    # {% if cookiecutter.database == "none" %}
    "fixtures.no_database",
    # {% endif %}
    # {% if cookiecutter.__celery %}
    "fixtures.celery",
    # {% elif cookiecutter.task_queue == "rq-redis" %}
    "fixtures.rq",
    # {% endif %}
    # {% if cookiecutter.__http_client %}
    "fixtures.http_server",
    # {% endif %}
]


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ignore settings and proxies of the shell, and static files that `make build` has written."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.__struct_fields__:
            patch.delenv(ENV_NAMES.get(name, name), raising=False)
        patch.setenv("TEST_STATIC_ROOT", str(tmp_path_factory.mktemp("public")))
        patch.setenv("no_proxy", "*")
        yield


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Test client of the application."""
    return app.test_client()


@pytest.fixture
def read_logs(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Function that returns the log records since its last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
