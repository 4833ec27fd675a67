import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.store import Backend, Store

from ..fixtures.stand_in import LONG, StandIn
from .numbers import Numbers

Logged = Callable[[], list[dict[str, Any]]]

FORK = """
import os
from {package} import create_app

backend = create_app().extensions["cache"].backend
backend.set("key", b"value", 60)
assert backend.get_many(["key"]) == [b"value"]
assert backend.free
child = os.fork()
if child == 0:
    assert not backend.free
    assert backend.get_many(["key"]) == [b"value"]
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert backend.get_many(["key"]) == [b"value"]
"""


@pytest.fixture
def server_url(stand_in: StandIn) -> str:
    """Where a server is: the one that TEST_CACHE_URL names, or what stands in for it."""
    return os.environ.get("TEST_CACHE_URL") or stand_in.url


@pytest.fixture
def served(make_app: Callable[..., Flask], server_url: str) -> Flask:
    """An application that uses a server: a real one, if there is one."""
    return make_app(CACHE_URL=server_url)


@pytest.fixture
def backend(served: Flask) -> Backend:
    found: Backend = served.extensions["cache"].backend
    return found


@pytest.fixture
def key(served: Flask) -> str:
    """A key that nobody else uses."""
    return f"{served.extensions['cache'].release}value:1"


def test_values_are_kept_and_forgotten(backend: Backend, key: str) -> None:
    value = bytes(range(256)) * 100
    backend.set(key, value, 60)
    assert backend.get_many([f"{key}2", key]) == [None, value]
    backend.delete([key, f"{key}2"])
    assert backend.get_many([key]) == [None]


def test_of_two_who_add_a_value_one_is_the_first(backend: Backend, key: str) -> None:
    assert backend.add(key, b"1", 60)
    assert not backend.add(key, b"2", 60)
    assert backend.get_many([key]) == [b"1"]


def test_keys_are_listed_by_their_prefix(served: Flask, backend: Backend) -> None:
    prefix = served.extensions["cache"].prefix
    for key in (f"{prefix}1:value:1", f"{prefix}2:value:1", f"other-{prefix}1:value:1"):
        backend.set(key, b"", 60)
    assert sorted(backend.keys(prefix)) == [f"{prefix}1:value:1", f"{prefix}2:value:1"]


def test_what_the_server_says_is_shown(served: Flask) -> None:
    result = served.test_cli_runner().invoke(args=["cache", "stats"])
    assert result.exit_code == 0
    for name in ("server", "memory used", "memory allowed", "evicted keys", "hits", "misses"):
        assert name in result.output


def test_processes_share_what_is_kept(make_app: Callable[..., Flask], server_url: str) -> None:
    apps = [make_app(CACHE_URL=server_url) for _ in range(2)]
    mine, theirs = (Numbers(app.extensions["cache"], ["pens"]) for app in apps)
    assert [mine.get(), theirs.get()] == [1, 1]
    theirs.store.forget("pens")
    assert [mine.get(), theirs.get()] == [2, 2]


def test_processes_count_writes_together_and_reads_alone(
    make_app: Callable[..., Flask],
    server_url: str,
) -> None:
    limits = {"RATE_LIMIT_WRITES": "2/hour", "RATE_LIMIT": "4/hour"}
    one, other = (make_app(CACHE_URL=server_url, **limits).test_client() for _ in range(2))
    assert [client.put("/nowhere").status_code for client in (one, other)] == [404, 404]
    for client in (one, other):
        refused = client.put("/nowhere")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert [client.get("/nowhere").status_code for _ in range(2)] == [404, 404]


def test_services_count_apart(make_app: Callable[..., Flask], server_url: str) -> None:
    for prefix in ("one", "other"):
        app = make_app(CACHE_URL=server_url, RATE_LIMIT_WRITES="1/second", CACHE_PREFIX=prefix)
        assert app.test_client().put("/nowhere").status_code == 404


def test_a_forked_process_has_connections_of_its_own(server_url: str) -> None:
    package = "{{ cookiecutter.package_name }}"
    variables = os.environ | {
        "FLASK_TESTING": "true",
        "CACHE_URL": server_url,
        "CACHE_TIMEOUT": "10",
        "PYTHONPATH": "src",
    }
    script = FORK.format(package=package)
    subprocess.run([sys.executable, "-c", script], env=variables, check=True)  # noqa: S603


@pytest.fixture
def frail(make_app: Callable[..., Flask], stand_in: StandIn) -> Flask:
    """An application on a server that a test can break."""
    return make_app(CACHE_URL=stand_in.url, RATE_LIMIT_WRITES="2/hour")


@pytest.fixture
def numbers(frail: Flask) -> Numbers:
    store: Store = frail.extensions["cache"]
    return Numbers(store, ["pens"])


def test_a_connection_that_was_closed_is_opened_again(
    numbers: Numbers,
    stand_in: StandIn,
) -> None:
    assert numbers.get() == 1
    stand_in.disconnect()
    assert numbers.get() == 1
    stand_in.disconnect()
    numbers.store.forget("pens")
    assert numbers.get() == 2
    assert not numbers.store.figures["errors"]


def test_a_server_may_go_and_come_back(
    frail: Flask,
    numbers: Numbers,
    stand_in: StandIn,
    logged: Logged,
) -> None:
    client = frail.test_client()
    assert numbers.get() == 1
    stand_in.stop()
    assert [numbers.get() for _ in range(3)] == [2, 3, 4]
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded")
    for command in ("stats", "clear"):
        result = frail.test_cli_runner().invoke(args=["cache", command])
        assert result.exit_code == 1
        assert result.output.startswith("Error: the cache: ")
        assert len(result.output.splitlines()) == 1
    assert [record["event"] for record in logged()].count("cache failed") == 1

    stand_in.start()
    numbers.store.away_until = 0
    assert [numbers.get() for _ in range(2)] == [1, 1]
    assert client.get("/health/ready").get_json()["status"] == "ok"


def test_while_the_server_is_away_each_process_counts_alone(
    frail: Flask,
    stand_in: StandIn,
) -> None:
    stand_in.stop()
    client = frail.test_client()
    assert [client.put("/nowhere").status_code for _ in range(3)] == [404, 404, 429]
    assert 0 < int(client.put("/nowhere").headers["Retry-After"]) <= 3600


def test_nobody_waits_for_a_server_that_is_silent(
    make_app: Callable[..., Flask],
    stand_in: StandIn,
) -> None:
    app = make_app(CACHE_URL=stand_in.url, CACHE_TIMEOUT="0.05")
    numbers = Numbers(app.extensions["cache"], ["pens"])
    stand_in.speaks.clear()
    started = time.monotonic()
    assert [numbers.get() for _ in range(3)] == [1, 2, 3]
    assert app.test_client().put("/nowhere").status_code == 404
    assert app.test_client().get("/health/ready").get_json()["status"] == "degraded"
    assert time.monotonic() - started < LONG / 2


def test_a_server_that_talks_nonsense_is_not_heard(
    frail: Flask,
    numbers: Numbers,
    stand_in: StandIn,
) -> None:
    stand_in.nonsense = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert [numbers.get() for _ in range(3)] == [1, 2, 3]
    assert frail.test_client().put("/nowhere").status_code == 404
    assert frail.test_client().get("/health/ready").get_json()["status"] == "degraded"
