"""Metrics of real servers: all processes together count each request once, also after they were replaced."""

import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.application_servers import application_server, connect
from tests.matrix import DEFAULT, OPTIONS, TOKEN_COMBINATIONS, Combination, parametrize_combinations
from tests.services import fetch, free_port, wait_until
from tests.test_queues import (  # noqa: F401
    QUEUED,
    JobsProject,
    brokers,
    deployed,
)

# 500 processes, one after the other.
RECYCLED = """
import os, pathlib, sys
from PACKAGE.core.monitoring.prometheus import shared_files

events = shared_files.Counter("events", "Events.")
running = shared_files.Gauge("running", "Runs.", multiprocess_mode="livesum")
for _ in range(500):
    if not (pid := os.fork()):
        shared_files.shared_values.start(pathlib.Path(sys.argv[1]))
        events.inc()
        running.inc()
        os._exit(0)
    os.waitpid(pid, 0)
shared_files.shared_values.start(pathlib.Path(sys.argv[1]))
print(shared_files.render().decode())
"""


@parametrize_combinations([DEFAULT])
@pytest.mark.usefixtures("combination")
def test_500_replaced_processes_leave_the_files_of_one(
    project: Path, venv_bin: Path, tmp_path: Path, clean_env: dict[str, str]
) -> None:
    """Neither the number nor the size of files grows, and the counter is exact."""
    (package,) = (path.name for path in project.glob("src/*"))
    script = RECYCLED.replace("PACKAGE", package)
    command: list[str | Path] = [venv_bin / "python", "-c", script, tmp_path]
    variables = {**clean_env, "PYTHONPATH": str(project / "src")}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    assert "\nevents_total 500.0\n" in result.stdout
    assert "\nrunning 0.0\n" in result.stdout
    assert {path.stat().st_size for path in tmp_path.glob("*.db")} == {65_536}
    assert {path.stem[-2:] for path in tmp_path.glob("*.db")} == {"_1"}


def with_prometheus(combination: Combination) -> Combination:
    """Return the combination with metrics."""
    if combination.options["monitoring"] == "prometheus":
        return combination
    options = {**combination.options, "monitoring": "prometheus"}
    return replace(combination, id=f"{combination.id}-prometheus", options=options)


def samples(text: str) -> dict[str, float]:
    """Return the samples in Prometheus' text format."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def read_metrics(url: str) -> dict[str, float]:
    """Return the metrics at a URL."""
    response = fetch(url)
    assert response.status == 200, response.text
    return samples(response.text)


REQUESTS = (
    'http_server_request_duration_seconds_count{http_request_method="GET",'
    'http_response_status_code="404",http_route=""}'
)
SERVED = [
    with_prometheus(next(row for row in TOKEN_COMBINATIONS if row.options["wsgi_server"] == server))
    for server in OPTIONS["wsgi_server"]
]
# It serves the metrics on a port of their own.
UWSGI_PROTOCOL = with_prometheus(
    next(
        row
        for row in TOKEN_COMBINATIONS
        if (row.options["wsgi_server"], row.options["reverse_proxy"]) == ("uwsgi", "nginx")
    )
)
# The class of gunicorn's workers; other servers ignore it.
WORKERS = [
    *((row, "gthread") for row in {row.id: row for row in [*SERVED, UWSGI_PROTOCOL]}.values()),
    (SERVED[0], "gevent"),
]


@pytest.mark.parametrize(
    ("combination", "worker_class"),
    [pytest.param(row, kind, id=f"{row.id}-{kind}", marks=pytest.mark.xdist_group(row.id)) for row, kind in WORKERS],
)
def test_all_processes_count_each_request_also_after_a_reload(
    combination: Combination, worker_class: str, workspace: Path, venv_bin: Path, tmp_path: Path
) -> None:
    """Requests to two processes and to their successors are counted exactly, and each scrape succeeds."""
    bind = f"127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "METRICS_FOLDER": str(tmp_path / "metrics"),
        "WEB_WORKER_CLASS": worker_class,
        "METRICS_BIND": bind,
    }
    with application_server(workspace, combination, venv_bin, tmp_path / "log", **settings) as server:

        def send(numbers: range) -> None:
            with ThreadPoolExecutor(4) as clients:
                statuses = list(clients.map(lambda number: server.request(f"/nowhere/{number}").status, numbers))
            assert statuses == [404] * len(numbers)

        def scrape() -> dict[str, float]:
            return read_metrics(f"http://{bind if server.protocol == 'uwsgi' else server.bind}/metrics")

        send(range(50))
        former = server.workers()
        assert scrape()[REQUESTS] == 50
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: scrape()[REQUESTS] == 50 and not former & server.workers())
        send(range(50, 100))
        found = scrape()
        assert found[REQUESTS] == 100
        assert found["http_server_active_requests"] == 0
        assert found["http_server_threads"] > 0
        forwarded: dict[str, Any] = {"X-Forwarded-For": "127.0.0.1"}
        assert server.request("/metrics", **forwarded).status == 403
        if server.protocol == "uwsgi":
            # The port of the metrics serves nothing else.
            assert [fetch(f"http://{bind}{path}").status for path in ("/health/live", "//metrics")] == [404, 404]
    slots = {path.stem.rpartition("_")[2] for path in tmp_path.glob("metrics/*/*.db")}
    assert len(slots) <= 5
    assert not re.search(r'GET /metrics|"/metrics', (tmp_path / "log").read_text(encoding="utf-8"))


@parametrize_combinations([with_prometheus(combination) for combination in QUEUED])
def test_worker_and_scheduler_report_jobs_and_queues(
    combination: Combination,
    deployed: JobsProject,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Each attempt is counted once, by whichever process; queues are measured, and a scrape outlives the broker."""
    bind = f"127.0.0.1:{free_port()}"
    settings = {"METRICS_FOLDER": str(tmp_path), "METRICS_BIND": bind}
    url = f"http://{bind}/metrics"
    deployed.enqueue(*(f"low {number}" for number in range(20)), "flaky", "crashing")
    with deployed.running("scheduler", **settings):
        wait_until(lambda: is_listening(bind))
        found = read_metrics(url)
        assert sum(value for name, value in found.items() if name.startswith("task_queue_length")) == 22
        if combination.options["task_queue"] != "celery-rabbitmq":
            assert 0 < found['task_queue_oldest_age_seconds{queue="low"}'] < 60
        assert time.time() - found["task_scheduler_last_run_timestamp_seconds"] < 60
    with deployed.running("worker", **settings):
        wait_until(lambda: deployed.counts()["failed"] == 1, timeout=90)
        wait_until(lambda: len(deployed.records("low")) == 20 and len(deployed.records("flaky")) == 2)
        wait_until(lambda: read_metrics(url)['tasks_finished_total{outcome="succeeded",task="probe_jobs.flaky"}'] == 1)
        found = read_metrics(url)
        assert found['tasks_started_total{task="probe_jobs.low"}'] == 20
        assert found['tasks_finished_total{outcome="succeeded",task="probe_jobs.low"}'] == 20
        assert found['task_duration_seconds_count{task="probe_jobs.low"}'] == 20
        assert found['tasks_started_total{task="probe_jobs.flaky"}'] == 2
        assert found['tasks_finished_total{outcome="retried",task="probe_jobs.flaky"}'] == 1
        assert found['tasks_finished_total{outcome="failed",task="probe_jobs.crashing"}'] == 1
        assert found['task_dead_letters{queue="failed"}'] == 1
        assert found["task_broker_up"] == 1
        with deployed.broker.paused():
            began = time.monotonic()
            found = read_metrics(url)
            assert time.monotonic() - began < 5
        assert found["task_broker_up"] == 0
        assert 'task_dead_letters{queue="failed"}' not in found


def is_listening(bind: str) -> bool:
    """Return whether a server accepts connections."""
    with suppress(OSError), connect(bind, 1):
        return True
    return False
