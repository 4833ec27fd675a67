"""Clusters that are missing, hang or fail, and processes that fork."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from cassandra import AuthenticationFailed, OperationTimedOut, Unavailable
from cassandra.cluster import Cluster, NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage
from flask import Flask

from {{ cookiecutter.package_name }}.core.cassandra import client as module
from {{ cookiecutter.package_name }}.core.cassandra import get_client

# It creates the keyspace.
pytestmark = pytest.mark.usefixtures("migrated_app")


def add_view(app: Flask) -> None:
    """Add a view that sends a statement."""

    def ask() -> str:
        return str(len(get_client().execute("SELECT owner FROM schema_lock WHERE name = 'x'")))

    vars(ask)["access_rule"] = None
    app.add_url_rule("/ask", view_func=ask)


@pytest.fixture
def _real_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the driver, not the fake."""
    monkeypatch.setattr(module, "Cluster", Cluster)


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """The port of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_reachable_cluster_is_ready(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    add_view(app)
    assert app.test_client().get("/ask").text == "0"
    assert app.test_client().get("/health/ready").get_json()["checks"]["database"]["status"] == "ok"


@pytest.mark.usefixtures("_real_driver")
def test_refused_connection_returns_503(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="cassandra://127.0.0.1:1/test", DATABASE_CONNECT_TIMEOUT="1")
    add_view(app)
    response = app.test_client().get("/ask")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert app.test_client().get("/health/ready").status_code == 503


@pytest.mark.usefixtures("_real_driver")
def test_hanging_server_returns_503_in_time(
    make_app: Callable[..., Flask], hanging_port: int
) -> None:
    url = f"cassandra://127.0.0.1:{hanging_port}/test"
    app = make_app(DATABASE_URL=url, DATABASE_CONNECT_TIMEOUT="1")
    add_view(app)
    started = time.monotonic()
    assert app.test_client().get("/ask").status_code == 503
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "error",
    [
        NoHostAvailable("down", {"node": AuthenticationFailed("bad password")}),
        OperationTimedOut({}, None),
        OverloadedErrorMessage(0x1001, "too many requests", None),
        Unavailable("two replicas are required"),
    ],
)
def test_failed_statement_returns_503(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app = make_app()
    add_view(app)
    assert app.test_client().get("/ask").status_code == 200
    session: Any = Mock(execute_async=Mock(side_effect=error))
    monkeypatch.setattr(app.extensions["cassandra"], "session", session)
    assert app.test_client().get("/ask").status_code == 503


def test_forked_process_connects_again(make_app: Callable[..., Flask]) -> None:
    client = make_app().extensions["cassandra"]
    session = client.connect()
    child = os.fork()
    if child == 0:
        os._exit(0 if client.session is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.connect() is session
