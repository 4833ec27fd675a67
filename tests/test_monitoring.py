"""Metrics of real servers: all processes together count each request once, also after they were replaced."""

import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.application_servers import SETTINGS, application_server, connect
from tests.deployed_project import ALLOW_ANONYMOUS
from tests.matrix import DEFAULT, OPTIONS, TOKEN_COMBINATIONS, Combination, parametrize_combinations
from tests.monitoring import small_disk
from tests.services import Clock, fetch, free_port, wait_until
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


# More labels than a small disk has space for.
FULL_DISK = """
import pathlib, sys
from PACKAGE.core.monitoring.prometheus import shared_files

events = shared_files.Counter("events", "Events.", ["number"])
shared_files.shared_values.start(pathlib.Path(sys.argv[1]))
for _ in range(2):
    for number in range(5000):
        events.labels(f"{number:0100}").inc()
print(shared_files.render().decode())
"""

# Requests to an application of production, with the labels of all metrics before and after them.
MANY_LABELS = """
import os, sys
from werkzeug.test import EnvironBuilder, run_wsgi_app
from prometheus_client import REGISTRY
from PACKAGE import create_app
from PACKAGE.core.monitoring.prometheus.requests import observe_finished

app = create_app()
output = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

def request(path, **options):
    options = {"base_url": "http://127.0.0.1", **options}
    run_wsgi_app(app.wsgi_app, EnvironBuilder(path, **options).get_environ(), buffered=True)

def series():
    observe_finished()
    return {(sample.name, *sample.labels.values()) for one in REGISTRY.collect() for sample in one.samples}

def requests(number):
    request(f"/nowhere/{number}", method=f"BREW{number}", headers={"User-Agent": f"{number}"})
    request("/nowhere", base_url=f"http://{number}.example.org", query_string=f"page={number}")

request("/nowhere")
requests(0)
before = series()
for number in range(10_000):
    requests(number)
print(len(before), *sorted(series() - before), file=output, flush=True)
"""

# A request and a job during which the clock jumps. Under libfaketime `time.sleep` fails if only the clock changes.
CLOCK_CHANGES = (
    """
import pathlib, select, sys, time
from prometheus_client import REGISTRY
from PACKAGE import create_app
from PACKAGE.core.monitoring.prometheus.requests import observe_finished
from PACKAGE.core.tasks.execution import bind_log_context, execute

app = create_app()

def wait():
    for hours in (2, -2, 1):
        began = time.time()
        pathlib.Path(sys.argv[1]).write_text(f"{hours * 3600:+d}")
        assert abs(time.time() - began) > 3000
        select.select([], [], [], 0.2)
    return ""

app.add_url_rule("/slow", view_func=wait)
"""
    + ALLOW_ANONYMOUS
    + """
assert app.test_client().get("/slow").status_code == 200
bind_log_context("slow", "1", 1, {})
execute(app, wait)
observe_finished()
for metric in ("http_server_request_duration", "task_duration"):
    for one in REGISTRY.collect():
        if one.name == f"{metric}_seconds":
            print(*(sample.value for sample in one.samples if sample.name.endswith("_sum")))
"""
)


def run_script(project: Path, venv_bin: Path, script: str, *arguments: Path, **variables: str) -> str:
    """Run Python code with the package of a project, and return its output."""
    (package,) = (path.name for path in project.glob("src/*"))
    command: list[str | Path] = [venv_bin / "python", "-c", script.replace("PACKAGE", package), *arguments]
    # The project is shared: no bytecode.
    environ = {"PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=project)
    assert result.returncode == 0, f"{result.returncode} {result.stderr}"
    return result.stdout


@parametrize_combinations([DEFAULT])
@pytest.mark.usefixtures("combination")
def test_500_replaced_processes_leave_the_files_of_one(project: Path, venv_bin: Path, tmp_path: Path) -> None:
    """Neither the number nor the size of files grows, and the counter is exact."""
    output = run_script(project, venv_bin, RECYCLED, tmp_path)
    assert "\nevents_total 500.0\n" in output
    assert "\nrunning 0.0\n" in output
    assert {path.stat().st_size for path in tmp_path.glob("*.db")} == {65_536}
    assert {path.stem[-2:] for path in tmp_path.glob("*.db")} == {"_1"}


@parametrize_combinations([DEFAULT])
@pytest.mark.usefixtures("combination")
def test_full_disk_ends_no_process(project: Path, venv_bin: Path, tmp_path: Path) -> None:
    """A file that cannot grow keeps its values, others stay in memory, and each process logs that once."""
    first = f'events_total{{number="{0:0100}"}}'
    with small_disk(tmp_path / "disk", kilobytes=256):
        for number in range(1, 3):
            output = run_script(project, venv_bin, FULL_DISK, tmp_path / "disk" / "metrics")
            assert f"\n{first} {2 * number}.0\n" in output
            assert output.count("metrics not stored") == 1
            assert "No space left on device" in output
        stored = (tmp_path / "disk" / "metrics" / "counter_1.db").read_bytes().count(b"events_total")
        assert 100 < stored < 5000
        # No space for a single file.
        output = run_script(project, venv_bin, FULL_DISK, tmp_path / "disk" / "others")
        assert output.count("metrics not stored") == 1
    # With space, all values are stored.
    output = run_script(project, venv_bin, FULL_DISK, tmp_path / "metrics")
    assert "metrics not stored" not in output
    assert output.count("\nevents_total{") == 5000


@parametrize_combinations([DEFAULT])
@pytest.mark.usefixtures("combination")
def test_10000_paths_methods_and_hosts_make_no_labels(project: Path, venv_bin: Path, tmp_path: Path) -> None:
    """Clients choose no label of any metric."""
    settings = SETTINGS | {"DATABASE_URL": f"sqlite:///{tmp_path}/sqlite3", "METRICS_FOLDER": str(tmp_path)}
    settings |= dict.fromkeys(("RATE_LIMIT", "RATE_LIMIT_WRITES"), "100000/second")
    number, *added = run_script(project, venv_bin, MANY_LABELS, **settings).split()
    assert int(number) > 100
    assert added == []


@parametrize_combinations([DEFAULT])
@pytest.mark.usefixtures("combination")
def test_clock_changes_do_not_change_durations(project: Path, venv_bin: Path, tmp_path: Path) -> None:
    """While the clock jumps by hours, the durations of a request and a job are those of a monotonic clock."""
    clock = Clock(tmp_path / "clock")
    clock.set(datetime.now(UTC).isoformat())
    variables = {**clock.variables, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FLASK_TESTING": "1"}
    output = run_script(project, venv_bin, CLOCK_CHANGES, tmp_path / "clock", **variables)
    for line in output.splitlines()[-2:]:
        assert 0.6 <= float(line) < 10


def with_prometheus(combination: Combination) -> Combination:
    """Return the combination with metrics, and with a deployment that allows them."""
    if combination.options["monitoring"] == "prometheus":
        return combination
    options = {**combination.options, "monitoring": "prometheus", "deployment": "compose"}
    return replace(combination, id=f"{combination.id}-prometheus", options=options)


def samples(text: str) -> dict[str, float]:
    """Return the samples in Prometheus' text format."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def scrape_from(source: str, host: str, port: int) -> int:
    """Return the status of the metrics for a client with another IP address of this machine."""
    connection = HTTPConnection(host, port, timeout=10, source_address=(source, 0))
    connection.request("GET", "/metrics")
    status = connection.getresponse().status
    connection.close()
    return status


def read_metrics(url: str) -> dict[str, float]:
    """Return the metrics at a URL."""
    response = fetch(url)
    assert response.status == 200, response.text
    return samples(response.text)


REQUESTS = (
    'http_server_request_duration_seconds_count{http_request_method="GET",'
    'http_response_status_code="404",http_route=""}'
)
# Behind a proxy: without one uWSGI has an HTTP router, which ends its connections in a reload.
SERVED = [
    with_prometheus(
        next(
            row
            for row in TOKEN_COMBINATIONS
            if row.options["wsgi_server"] == server and row.options["reverse_proxy"] != "none"
        )
    )
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
        "METRICS_ALLOWED_NETWORKS": "127.0.0.1/32",
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
        counts = [scrape().get(REQUESTS, 0)]

        def is_reloaded() -> bool:
            counts.append(scrape().get(REQUESTS, 0))
            return not former & server.workers()

        # The processes end before they observe their requests regularly.
        server.process.send_signal(signal.SIGHUP)
        wait_until(is_reloaded)
        assert counts == sorted(counts)
        assert scrape()[REQUESTS] == 50
        send(range(50, 100))
        wait_until(lambda: scrape()[REQUESTS] >= 100 and not scrape()["http_server_active_requests"])
        found = scrape()
        assert found[REQUESTS] == 100
        assert found["http_server_threads"] > 0
        forwarded: dict[str, Any] = {"X-Forwarded-For": "127.0.0.1"}
        assert server.request("/metrics", **forwarded).status == 403
        host, _, port = (bind if server.protocol == "uwsgi" else server.bind).rpartition(":")
        assert scrape_from("127.0.0.2", host, int(port)) == 403
        assert scrape_from("127.0.0.1", host, int(port)) == 200
        if server.protocol == "uwsgi":
            # The port of the metrics serves nothing else.
            assert [fetch(f"http://{bind}{path}").status for path in ("/health/live", "//metrics")] == [404, 404]
    slots = {path.stem.rpartition("_")[2] for path in tmp_path.glob("metrics/*/*.db")}
    assert len(slots) <= 5
    assert not re.search(r'GET /metrics|"/metrics', (tmp_path / "log").read_text(encoding="utf-8"))


@parametrize_combinations([DEFAULT])
def test_processes_in_debug_mode_share_metrics(
    combination: Combination, workspace: Path, venv_bin: Path, tmp_path: Path
) -> None:
    """With FLASK_DEBUG=1 `make run-prod` still has several processes, and each scrape counts their requests."""
    settings: dict[str, Any] = {"METRICS_FOLDER": str(tmp_path / "metrics"), "FLASK_DEBUG": "1"}
    with application_server(workspace, combination, venv_bin, tmp_path / "log", **settings) as server:
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda number: server.request(f"/nowhere/{number}"), range(50)))

        def count() -> float | None:
            return read_metrics(f"http://{server.bind}/metrics").get(REQUESTS)

        # Requests are observed after them.
        wait_until(lambda: count() == 50)
        assert [count() for _ in range(20)] == [50] * 20


@parametrize_combinations([with_prometheus(one) for one in QUEUED if one.options["task_queue"] != "celery-rabbitmq"])
def test_age_of_jobs_is_not_negative_after_a_clock_change(deployed: JobsProject, tmp_path: Path) -> None:  # noqa: F811
    """A job that was sent before the clock was set back by an hour has the age 0."""
    bind = f"127.0.0.1:{free_port()}"
    clock = Clock(tmp_path / "clock")
    clock.set((datetime.now(UTC) - timedelta(hours=1)).isoformat())
    settings = {"METRICS_FOLDER": str(tmp_path), "METRICS_BIND": bind}
    deployed.enqueue("low 1")
    with deployed.running("scheduler", **settings, **clock.variables):
        wait_until(lambda: is_listening(bind))
        found = read_metrics(f"http://{bind}/metrics")
    assert found['task_queue_length{queue="low"}'] == 1
    assert found['task_queue_oldest_age_seconds{queue="low"}'] == 0
    assert time.time() - found["task_scheduler_last_run_timestamp_seconds"] > 3000


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
        # The metrics are served before the first check of the schedule.
        wait_until(lambda: time.time() - read_metrics(url)["task_scheduler_last_run_timestamp_seconds"] < 60)
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
