"""Error reports of real servers and workers, which a receiver on loopback stores: each error once, also at the end."""

import gzip
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.application_servers import application_server
from tests.deployed_project import ALLOW_ANONYMOUS, SHORT_TIMEOUT
from tests.matrix import OPTIONS, TOKEN_COMBINATIONS, Combination, parametrize_combinations
from tests.services import wait_until
from tests.test_queues import (  # noqa: F401
    QUEUED,
    JobsProject,
    brokers,
    deployed,
)

CRASH = (
    """

@app.get("/probe/crash/<int:number>")
def crash(number):
    raise ValueError(f"wrong number {number}")
"""
    + ALLOW_ANONYMOUS
)

FAILING = """

{decorator}
def failing():
    import structlog

    # The report of the exception is sent after the response to this one.
    structlog.get_logger().error("first")
    raise ValueError("wrong")
"""


def with_sentry(combination: Combination) -> Combination:
    """Return the combination with error tracking."""
    if combination.options["error_tracking"] == "sentry":
        return combination
    options = {**combination.options, "error_tracking": "sentry"}
    return replace(combination, id=f"{combination.id}-sentry", options=options)


SERVED = [
    next(combination for combination in TOKEN_COMBINATIONS if combination.options["wsgi_server"] == server)
    for server in OPTIONS["wsgi_server"]
]


class Receiver(ThreadingHTTPServer):
    """A server on loopback that stores the reports which Sentry's client sends."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.reports: list[dict[str, Any]] = []

    @property
    def dsn(self) -> str:
        """The value of SENTRY_DSN."""
        return f"http://key@127.0.0.1:{self.server_port}/1"

    def errors(self) -> Counter[str]:
        """Return the number of reports by type of the exception, or message."""
        return Counter(
            report["exception"]["values"][-1]["type"] if "exception" in report else report["message"]
            for report in self.reports
        )


class Handler(BaseHTTPRequestHandler):
    """Stores the events of an envelope: lines of JSON."""

    server: Receiver

    def do_POST(self) -> None:
        """Store one report, as slowly as a distant service."""
        time.sleep(0.3)
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.reports.append(json.loads(body.splitlines()[2]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running receiver."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@parametrize_combinations([with_sentry(combination) for combination in SERVED])
def test_server_sends_each_error_once_and_the_last_ones_at_its_end(
    combination: Combination, workspace: Path, venv_bin: Path, tmp_path: Path, receiver: Receiver
) -> None:
    """A server that stops immediately after an error sends its report."""
    (module,) = workspace.glob("src/*/wsgi.py")
    module.write_text(module.read_text(encoding="utf-8") + CRASH, encoding="utf-8")
    # One worker: granian waits for WEB_TIMEOUT if it stops while another one starts.
    settings: Any = {"SENTRY_DSN": receiver.dsn, "SENTRY_RELEASE": "1.2.3", "WEB_CONCURRENCY": "1"}
    with application_server(workspace, combination, venv_bin, tmp_path / "log", **settings) as server:
        assert server.request("/nowhere").status == 404
        for number in range(3):
            assert server.request(f"/probe/crash/{number}").status == 500
        server.process.terminate()
        server.process.wait(SHORT_TIMEOUT)
    numbers = sorted(report["exception"]["values"][-1]["value"] for report in receiver.reports)
    assert numbers == [f"wrong number {number}" for number in range(3)]
    assert {report["transaction"] for report in receiver.reports} == {"GET /probe/crash/<int:number>"}
    assert {report["release"] for report in receiver.reports} == {"1.2.3"}


@parametrize_combinations([with_sentry(combination) for combination in QUEUED])
def test_jobs_that_failed_for_good_are_reported_once(deployed: JobsProject, receiver: Receiver) -> None:  # noqa: F811
    """Retries are no reports; a failed job, one whose worker died and one over its time limit are one report each."""
    jobs = deployed.folder / "probe_jobs.py"
    decorator = "@shared_task" if deployed.uses_celery else "@job()"
    jobs.write_text(jobs.read_text(encoding="utf-8") + FAILING.format(decorator=decorator), encoding="utf-8")
    deployed.enqueue("flaky", "crashing", "endless", "failing")
    with deployed.running("worker", SENTRY_DSN=receiver.dsn) as worker:
        wait_until(lambda: deployed.counts()["failed"] == 3, timeout=90)
        wait_until(deployed.has_records("flaky", 2))
        worker.send_signal(signal.SIGTERM)
        worker.wait(SHORT_TIMEOUT)
    names = sorted(report["tags"]["job"].rpartition(".")[2] for report in receiver.reports)
    assert names == ["crashing", "endless", "failing", "failing"], receiver.errors()
    assert (receiver.errors()["first"], receiver.errors()["ValueError"]) == (1, 1)
