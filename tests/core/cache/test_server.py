import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from socket import create_server
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.cache.store import Backend, Store

from ..fixtures.cache_server import SCHEME, CacheServer, replying
from .counter import CachedCounter

Logged = Callable[[], list[dict[str, Any]]]

FORK = """
import os
from {package} import create_app

backend = create_app().extensions["cache"].backend
values = [b"0", b"1"]
for value in values:
    backend.set("key" + value.decode(), value, 60)
children = []
for value in values:
    if not (child := os.fork()):
        for _ in range(1000):
            assert backend.get_many(["key" + value.decode()]) == [value]
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
assert backend.get_many(["key0"]) == [b"0"]
"""


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of the server at TEST_CACHE_URL, or of a new one."""
    if url := os.environ.get("TEST_CACHE_URL"):
        return url
    server: CacheServer = request.getfixturevalue("cache_server")
    return server.url


@pytest.fixture
def served(make_app: Callable[..., Flask], server_url: str) -> Flask:
    """An application on the server."""
    return make_app(CACHE_URL=server_url)


@pytest.fixture
def backend(served: Flask) -> Backend:
    found: Backend = served.extensions["cache"].backend
    return found


@pytest.fixture
def key(served: Flask) -> str:
    """A key that no other test uses."""
    return f"{served.extensions['cache'].release}value:1"


def test_values_are_stored_and_deleted(backend: Backend, key: str) -> None:
    value = bytes(range(256)) * 100
    backend.set(key, value, 60)
    assert backend.get_many([f"{key}2", key]) == [None, value]
    backend.delete([key, f"{key}2"])
    assert backend.get_many([key]) == [None]


def test_add_stores_only_the_first_value(backend: Backend, key: str) -> None:
    assert backend.add(key, b"1", 60)
    assert not backend.add(key, b"2", 60)
    assert backend.get_many([key]) == [b"1"]


def test_keys_are_listed_by_their_prefix(served: Flask, backend: Backend) -> None:
    prefix = served.extensions["cache"].prefix
    for key in (f"{prefix}1:value:1", f"{prefix}2:value:1", f"other-{prefix}1:value:1"):
        backend.set(key, b"", 60)
    assert sorted(backend.keys(prefix)) == [f"{prefix}1:value:1", f"{prefix}2:value:1"]


def test_processes_share_values(make_app: Callable[..., Flask], server_url: str) -> None:
    apps = [make_app(CACHE_URL=server_url) for _ in range(2)]
    first, second = (CachedCounter(app.extensions["cache"], ["pens"]) for app in apps)
    assert [first.get(), second.get()] == [1, 1]
    second.store.invalidate("pens")
    assert [first.get(), second.get()] == [2, 2]


def test_processes_share_the_counts_of_writes(
    make_app: Callable[..., Flask],
    server_url: str,
) -> None:
    limits = {"RATE_LIMIT_WRITES": "2/hour", "RATE_LIMIT": "4/hour"}
    one, other = (make_app(CACHE_URL=server_url, **limits).test_client() for _ in range(2))
    assert [client.put("/nowhere").status_code for client in (one, other)] == [404, 404]
    for client in (one, other):
        rejected = client.put("/nowhere")
        assert rejected.status_code == 429
        assert 0 < int(rejected.headers["Retry-After"]) <= 3600
        assert [client.get("/nowhere").status_code for _ in range(2)] == [404, 404]


def test_services_count_separately(make_app: Callable[..., Flask], server_url: str) -> None:
    for prefix in ("one", "other"):
        app = make_app(CACHE_URL=server_url, RATE_LIMIT_WRITES="1/second", CACHE_PREFIX=prefix)
        assert app.test_client().put("/nowhere").status_code == 404


def test_forked_processes_do_not_share_connections(server_url: str) -> None:
    package = "{{ cookiecutter.package_name }}"
    variables = os.environ | {
        "FLASK_TESTING": "true",
        "CACHE_URL": server_url,
        "CACHE_TIMEOUT": "10",
        "PYTHONPATH": "src",
    }
    script = FORK.format(package=package)
    subprocess.run([sys.executable, "-c", script], env=variables, check=True)


@pytest.fixture
def app_on_test_server(make_app: Callable[..., Flask], cache_server: CacheServer) -> Flask:
    """An application on a server that a test may stop."""
    return make_app(CACHE_URL=cache_server.url, RATE_LIMIT_WRITES="2/hour")


@pytest.fixture
def counter(app_on_test_server: Flask) -> CachedCounter:
    store: Store = app_on_test_server.extensions["cache"]
    return CachedCounter(store, ["pens"])


def test_closed_connection_is_opened_again(
    counter: CachedCounter, cache_server: CacheServer, metrics: Counter[str]
) -> None:
    for number in range(1, 4):
        assert [counter.get(), counter.get()] == [number, number]
        cache_server.stop()
        cache_server.start()
    counter.store.invalidate("pens")
    assert not metrics["errors"]


def test_outage_makes_the_application_degraded(
    app_on_test_server: Flask,
    counter: CachedCounter,
    cache_server: CacheServer,
    read_logs: Logged,
) -> None:
    client = app_on_test_server.test_client()
    assert counter.get() == 1
    cache_server.stop()
    assert [counter.get() for _ in range(3)] == [2, 3, 4]
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded")
    result = app_on_test_server.test_cli_runner().invoke(args=["cache", "clear"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: cache: ")
    assert len(result.output.splitlines()) == 1
    assert [record["event"] for record in read_logs()].count("cache failed") == 1

    cache_server.start()
    counter.store.circuit_open_until = 0
    assert [counter.get() for _ in range(2)] == [5, 5]
    assert client.get("/health/ready").get_json()["status"] == "ok"


def test_each_process_counts_for_itself_during_an_outage(
    app_on_test_server: Flask,
    cache_server: CacheServer,
) -> None:
    cache_server.stop()
    client = app_on_test_server.test_client()
    assert [client.put("/nowhere").status_code for _ in range(3)] == [404, 404, 429]
    assert 0 < int(client.put("/nowhere").headers["Retry-After"]) <= 3600


def test_silent_server_delays_requests_by_the_timeout_only(
    make_app: Callable[..., Flask],
) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        url = f"{SCHEME}://127.0.0.1:{silent.getsockname()[1]}"
        app = make_app(CACHE_URL=url, CACHE_TIMEOUT="0.05")
        counter = CachedCounter(app.extensions["cache"], ["pens"])
        started = time.monotonic()
        assert [counter.get() for _ in range(3)] == [1, 2, 3]
        assert app.test_client().put("/nowhere").status_code == 404
        assert app.test_client().get("/health/ready").get_json()["status"] == "degraded"
        assert time.monotonic() - started < 5


def test_server_with_another_protocol_is_an_outage(make_app: Callable[..., Flask]) -> None:
    with replying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        app = make_app(CACHE_URL=f"{SCHEME}://127.0.0.1:{port}")
        counter = CachedCounter(app.extensions["cache"], ["pens"])
        assert [counter.get() for _ in range(3)] == [1, 2, 3]
        assert app.test_client().put("/nowhere").status_code == 404
        assert app.test_client().get("/health/ready").get_json()["status"] == "degraded"
