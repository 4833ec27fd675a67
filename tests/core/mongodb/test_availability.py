"""Servers that are missing, hang or reject the credentials, and processes that fork."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from unittest.mock import Mock

import pytest
from flask import Flask
from pymongo.errors import OperationFailure
from scripts.fake_mongodb import fake_server

from {{ cookiecutter.package_name }} import config
from {{ cookiecutter.package_name }}.core.mongodb import get_database

FORK = """
import os
from {package} import create_app
from {package}.core.mongodb import get_database

app = create_app()
with app.app_context():
    parent = get_database()
    parent.command("ping")
    child = os.fork()
    if child == 0:
        assert get_database().client is not parent.client
        get_database().command("ping")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert get_database().client is parent.client
    parent.command("ping")
"""


def add_view(app: Flask) -> None:
    """Add a view that sends a command."""

    def ask() -> str:
        return str(get_database().command("ping")["ok"])

    vars(ask)["access_rule"] = None
    app.add_url_rule("/ask", view_func=ask)


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """The port of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_stopped_server_returns_503_until_it_is_back(make_app: Callable[..., Flask]) -> None:
    with fake_server("memory") as url:
        app = make_app(DATABASE_URL=f"{url}/test", DATABASE_CONNECT_TIMEOUT="1")
        add_view(app)
        client = app.test_client()
        assert client.get("/ask").status_code == 200
        assert client.get("/health/ready").status_code == 200
    response = client.get("/ask")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.get_json()["checks"]["database"]["status"] != "ok"
    with fake_server("memory", int(url.rpartition(":")[2])):
        # The driver looks for the server every two seconds.
        deadline = time.monotonic() + 10
        while client.get("/ask").status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("/health/ready").status_code == 200


def test_hanging_server_returns_503_in_time(
    make_app: Callable[..., Flask], hanging_port: int
) -> None:
    url = f"mongodb://127.0.0.1:{hanging_port}/test"
    app = make_app(DATABASE_URL=url, DATABASE_CONNECT_TIMEOUT="1", DATABASE_STATEMENT_TIMEOUT="1")
    add_view(app)
    started = time.monotonic()
    assert app.test_client().get("/ask").status_code == 503
    assert app.test_client().get("/health/ready").status_code == 503
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("code", "status"), [(18, 503), (11600, 503), (2, 500)])
def test_rejected_credentials_return_503(
    app: Flask,
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    status: int,
) -> None:
    """The fake server has no logins, so the error is raised here."""
    # As in the process that `flask run --debug` starts.
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    app = make_app(FLASK_TESTING="", FLASK_DEBUG="1")
    add_view(app)
    database = Mock()
    database.command.side_effect = OperationFailure("Authentication failed.", code)
    app.extensions["mongodb"] = Mock(database=database, close=app.extensions["mongodb"].close)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert app.test_client().get("/ask").status_code == status


def test_forked_process_has_its_own_client(environ: dict[str, str]) -> None:
    variables = os.environ | environ | {"PYTHONPATH": "src"}
    script = FORK.format(package="{{ cookiecutter.package_name }}")
    subprocess.run([sys.executable, "-W", "error", "-c", script], env=variables, check=True)


def test_threads_share_a_client(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    clients = []

    def connect() -> None:
        with app.app_context():
            clients.append(get_database().client)

    threads = [threading.Thread(target=connect) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in clients}) == 1


def test_concerns_are_those_of_the_settings(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_WRITE_CONCERN="majority", DATABASE_READ_CONCERN="majority")
    with app.app_context():
        assert get_database().write_concern.document == {"w": "majority"}
        assert get_database().read_concern.level == "majority"
    with make_app(DATABASE_WRITE_CONCERN="2").app_context():
        assert get_database().write_concern.document == {"w": 2}


@pytest.mark.parametrize(
    "url", ["oracle://server/name", "mongodb://server:port/name", "mongodb://server"]
)
def test_malformed_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(config.SettingsError, match="DATABASE_URL: expected"):
        make_app(DATABASE_URL=url)
