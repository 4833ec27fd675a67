"""Projects with MongoDB in production mode, on a fake server.

nx-27017 is not MongoDB. With it, these tests kill, suspend and remove a server under an application.
docs/deployment-targets.md lists the behavior that stays untested. Elections, logins and transactions are in
tests/core/mongodb, because nx-27017 lacks them.
"""

import json
import os
import pwd
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.conftest import Run
from tests.deployed_project import (
    SHORT_TIMEOUT,
    DeployedProject,
    assert_fails_with,
    continuous_requests,
)
from tests.matrix import Combination, answers_with, parametrize_combinations
from tests.services import Server, fetch, free_port, wait_until

PRODUCT = "/api/v1/products/1"
COMBINATIONS = [Combination("mongodb", answers_with(database="mongodb", auth="jwt"))]
# Seconds that the driver waits for a server, and that a request may take when there has been none for longer.
CONNECT_TIMEOUT, IMMEDIATE = 2, 1
# The driver looks for a server every two seconds.
RECOVERY = 6


class FakeMongoDB(Server):
    """nx-27017, with its data in a file."""

    account = pwd.getpwuid(os.geteuid()).pw_name
    scheme = "mongodb"
    stop_signal = signal.SIGTERM

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server; the only option is the folder of Python."""
        start = "from nx_27017 import main; main()"
        files = ["--db", f"{self.folder}/data", "--pid-file", f"{self.folder}/pid"]
        return [Path(self.options[0], "python"), "-c", start, *files, "--port", str(self.port)]

    def is_ready(self) -> bool:
        """Return whether the server accepts connections."""
        with self.session():
            return True


@pytest.fixture
def server(venv_bin: Path) -> Iterator[FakeMongoDB]:
    """Run the fake server."""
    with FakeMongoDB.running(str(venv_bin)) as server:
        yield server


@pytest.fixture
def deployed(
    workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], server: FakeMongoDB
) -> DeployedProject:
    """Return the project with production settings and the example's data."""
    settings = {"DATABASE_URL": f"{server.url}/app", "DATABASE_CONNECT_TIMEOUT": str(CONNECT_TIMEOUT)}
    project = DeployedProject(workspace, venv_bin, run, {**clean_env, **settings})
    project.run_flask("db", "upgrade")
    project.run_flask("seed", "--extra", "800")
    return project


@parametrize_combinations(COMBINATIONS)
def test_requests_recover_after_the_server_was_killed(deployed: DeployedProject, server: FakeMongoDB) -> None:
    """Under load, requests get 503 while the server is gone, soon without waiting, and 200 when it is back."""
    with deployed.serve() as site, continuous_requests(site + PRODUCT) as responses:

        def wait_for(status: int, since: float = 0) -> None:
            wait_until(lambda: sum(one.status == status and one.began > since for one in responses) > 50)

        wait_for(200)
        assert json.loads(fetch(site + PRODUCT).text)["id"] == 1
        assert fetch(f"{site}/health/ready").status == 200
        with server.killed():
            killed = time.monotonic()
            wait_for(503)
            broken = fetch(site + PRODUCT)
            assert broken.status == 503
            assert int(broken.headers["Retry-After"]) > 0
            assert not any(word in broken.text for word in (str(server.port), "127.0", "Traceback")), broken.text
            ready = fetch(f"{site}/health/ready", timeout=SHORT_TIMEOUT)
            assert ready.status == 503
            checks = json.loads(ready.text)["checks"]
            assert [name for name, check in checks.items() if check["status"] != "ok"] == ["database"]
            assert fetch(f"{site}/health/live").status == 200
            # Commands and jobs get an error in one line.
            assert_fails_with(deployed.flask("db", "status"), f"the database: 127.0.0.1:{server.port}: .* refused")
            wait_for(503, since=killed + 3 * CONNECT_TIMEOUT)
        restarted = time.monotonic()
        wait_for(200, since=restarted)
        time.sleep(RECOVERY)
        wait_for(200, since=restarted + RECOVERY)
        assert fetch(f"{site}/health/ready").status == 200
    assert {one.status for one in responses} == {200, 503}
    assert {one.status for one in responses if one.began > restarted + RECOVERY} == {200}
    assert max(one.took for one in responses) < SHORT_TIMEOUT
    late = [one.took for one in responses if killed + 3 * CONNECT_TIMEOUT < one.began < restarted]
    assert median(late) < IMMEDIATE
    errors = deployed.log_records(site, "database unavailable")
    # One line for each response; the test stops to read some of them.
    failed = [record for record in deployed.log_records(site, "request") if record["status"] == 503]
    failed = [record for record in failed if record["path"] == PRODUCT]
    assert len({record["request_id"] for record in errors}) == len(errors) == len(failed)
    assert not any("Topology" in record["error"] or len(record["error"]) > 200 for record in errors)


@parametrize_combinations(COMBINATIONS)
def test_hanging_server_returns_503_within_the_timeout(deployed: DeployedProject, server: FakeMongoDB) -> None:
    """A suspended server keeps its connections and accepts new ones; liveness probes still get 200."""
    with deployed.serve(DATABASE_STATEMENT_TIMEOUT="2") as site:
        assert fetch(site + PRODUCT).status == 200
        with server.paused():
            with continuous_requests(site + PRODUCT) as responses:
                wait_until(lambda: len(responses) > 50)
                assert fetch(f"{site}/health/ready", timeout=SHORT_TIMEOUT).status == 503
            assert {one.status for one in responses} == {503}
            # Expected: 2 s without other load.
            assert max(one.took for one in responses) < 5
            assert fetch(f"{site}/health/live").status == 200
        # Each of the two processes finds the server by itself.
        wait_until(lambda: {fetch(site + PRODUCT).status for _ in range(20)} == {200})


@parametrize_combinations(COMBINATIONS)
def test_service_starts_without_its_server(deployed: DeployedProject, server: FakeMongoDB) -> None:
    """A refused connection is no reason to exit: the service starts, and works when the server does."""
    server.stop()
    with deployed.serve() as site:
        assert fetch(f"{site}/health/live").status == 200
        began = time.monotonic()
        assert fetch(site + PRODUCT).status == 503
        assert time.monotonic() - began < 2 * CONNECT_TIMEOUT + IMMEDIATE  # expected: 2 s without other load
        server.start()
        wait_until(lambda: {fetch(site + PRODUCT).status for _ in range(20)} == {200})
        wait_until(lambda: {fetch(f"{site}/health/ready").status for _ in range(9)} == {200})


@parametrize_combinations(COMBINATIONS)
def test_unreachable_port_is_reported_by_commands(deployed: DeployedProject) -> None:
    """Each command fails with one line that has neither the password nor the description of all servers."""
    url = f"mongodb://app:password@127.0.0.1:{free_port()}/app"
    for command in (["db", "upgrade"], ["db", "stats"], ["seed"]):
        result = deployed.flask(*command, DATABASE_URL=url)
        assert_fails_with(result, "the database: 127.0.0.1:[0-9]+: .* refused", "password", "Topology")


@parametrize_combinations(COMBINATIONS)
def test_every_page_sends_one_operation_of_the_same_form(deployed: DeployedProject) -> None:
    """Page 40 has one `find` with a bound and a limit, and skips nothing. Its speed needs a real server."""
    with deployed.serve(SLOW_QUERY_MS="0") as site:
        url = f"{site}/api/v1/products?limit=20"
        cursor, pages = "", 0
        while cursor is not None and pages < 40:
            page = json.loads(fetch(url + (f"&after={cursor}" if cursor else "")).text)
            cursor, pages = page["next"], pages + 1
        requests = deployed.log_records(site, "request")
        assert pages == 40
        assert max(record.get("queries", 0) for record in requests) <= 2
        finds = {
            record["statement"]
            for record in deployed.log_records(site, "slow query")
            if record["statement"].startswith("find product")
        }
    assert len(finds) == 2, finds
    assert all("limit=21" in statement and "skip" not in statement for statement in finds)
