"""Projects with a real but old node of Cassandra that stops, hangs and starts. See `tests/cassandra_server.py`."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.cassandra_server import SETTINGS, Cassandra, cassandra_package  # noqa: F401
from tests.conftest import Run
from tests.deployed_project import SHORT_TIMEOUT, DeployedProject, assert_fails_with
from tests.matrix import Combination, answers_with, parametrize_combinations
from tests.services import Response, fetch, wait_until

# Without authentication, since the server rejects null in prepared statements, such as the author of a product.
MONITORED = [
    Combination(f"cassandra-{monitoring}", answers_with(database="cassandra", auth="none", monitoring=monitoring))
    for monitoring in ("prometheus", "opentelemetry")
]
KEYSPACES = (f"shop_{number}" for number in count(1))

Stop = Callable[[Cassandra], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def server(cassandra_package: Path) -> Iterator[Cassandra]:  # noqa: F811
    """Run a node. A test that stops it must start it again."""
    with Cassandra.running(str(cassandra_package)) as server:
        yield server


@pytest.fixture
def deployed(
    workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], server: Cassandra
) -> DeployedProject:
    """Return the project with production settings and a keyspace that does not exist yet."""
    url = f"{server.url}/{next(KEYSPACES)}"
    return DeployedProject(workspace, venv_bin, run, {**clean_env, **SETTINGS, "DATABASE_URL": url})


def timed(url: str) -> tuple[Response, float]:
    """Send a request and return its response and duration."""
    began = time.monotonic()
    return fetch(url, timeout=SHORT_TIMEOUT), time.monotonic() - began


@parametrize_combinations(MONITORED, group="cassandra")
@pytest.mark.parametrize("stop", [Cassandra.killed, Cassandra.paused])
def test_requests_get_503_until_the_database_responds(deployed: DeployedProject, server: Cassandra, stop: Stop) -> None:
    """A node that is killed or hangs costs at most the timeout; requests recover without a restart of the project."""
    assert deployed.flask("db", "status", "--check").returncode == 1
    assert "0001" in deployed.run_flask("db", "upgrade")
    assert deployed.run_flask("db", "upgrade") == ""
    deployed.run_flask("db", "status", "--check")
    deployed.run_flask("seed")
    with deployed.serve(threads=9) as site, ThreadPoolExecutor(8) as clients:
        products = json.loads(fetch(f"{site}/api/v1/products").text)["items"]
        # The view of one product reads the database on every request; lists may be cached.
        product = f"{site}/api/v1/products/{products[0]['id']}"
        assert {fetch(product).status for _ in range(8)} == {200}
        assert fetch(f"{site}/health/ready").status == 200

        with stop(server):
            waiting = [clients.submit(timed, product) for _ in range(8)]
            while not all(one.done() for one in waiting):
                live, took = timed(f"{site}/health/live")
                assert (live.status, took < 2) == (200, True), took
                time.sleep(0.1)
            broken = [one.result() for one in waiting] + [timed(product) for _ in range(2)]
            assert {response.status for response, _ in broken} == {503}
            assert max(took for _, took in broken) < 9  # expected: 4 s without other load
            for response, _ in broken:
                assert int(response.headers["Retry-After"]) > 0
                assert response.headers.get_content_type() == "application/problem+json"
                assert not re.search(f"{server.port}|127[.]0|Traceback", response.text), response.text
            ready, took = timed(f"{site}/health/ready")
            assert (ready.status, took < 9) == (503, True), took
            checks = json.loads(ready.text)["checks"]
            assert [name for name, check in checks.items() if check["status"] != "ok"] == ["database"]
            # A request has one record with the error, which names its request.
            records = deployed.log_records(site, "database unavailable")
            assert len(records) == len(broken), records
            assert len({record["request_id"] for record in records}) == len(broken)
            assert "Traceback" not in deployed.log_file(site).read_text(encoding="utf-8")

        wait_until(lambda: fetch(product).status == 200, timeout=SHORT_TIMEOUT)
        wait_until(lambda: {fetch(product).status for _ in range(10)} == {200}, timeout=SHORT_TIMEOUT)
        assert fetch(f"{site}/health/ready").status == 200


@parametrize_combinations(MONITORED[:1], group="cassandra")
def test_project_starts_before_its_database(deployed: DeployedProject, server: Cassandra) -> None:
    """Commands fail in one line without a node. The server starts without it, and uses it when it appears."""
    deployed.run_flask("db", "upgrade")
    with ExitStack() as stack:
        with server.unavailable():
            assert_fails_with(deployed.flask("db", "upgrade"), "Connection refused")
            site = stack.enter_context(deployed.serve())
            assert timed(f"{site}/api/v1/products/1")[0].status == 503
        wait_until(lambda: fetch(f"{site}/health/ready").status == 200, timeout=SHORT_TIMEOUT)
        assert fetch(f"{site}/api/v1/products/1").status == 404
