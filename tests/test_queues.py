"""Background jobs on real brokers: killed workers, broker outages, and two schedulers."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from subprocess import Popen
from threading import Event
from typing import Any

import pytest

from tests import certificates
from tests.conftest import Run
from tests.deployed_project import (
    ALLOW_ANONYMOUS,
    AUTHORIZATION,
    DeployedProject,
    assert_fails_with,
    continuous_requests,
)
from tests.matrix import OPTIONS, TOKEN_COMBINATIONS, Combination, Value, parametrize_combinations
from tests.services import (
    TIMEOUT,
    Broker,
    Clock,
    DatabaseServer,
    MariaDB,
    PostgreSQL,
    RabbitMQ,
    Redis,
    RedisBroker,
    descendants,
    fetch,
    free_port,
    wait_until,
)

BROKERS: dict[Value, type[Broker]] = {
    "celery-redis": RedisBroker,
    "celery-rabbitmq": RabbitMQ,
    "rq-redis": RedisBroker,
}
# How often the broker is killed: RabbitMQ starts slowly, and RQ needs 45 s to detect the job of a worker that lost
# Redis.
KILLS: dict[Value, int] = {"celery-redis": 3, "celery-rabbitmq": 1, "rq-redis": 0}
WITHOUT_BROKER = {"none"}
# How many jobs of lower queues may precede one of a higher: RabbitMQ prefetches one message per queue.
MAX_OVERTAKING = {"celery-redis": 0, "celery-rabbitmq": 3, "rq-redis": 0}

SHORT_LIMITS = {"JOB_TIME_LIMIT": "6", "JOB_RETRY_BACKOFF_MAX": "1"}
SHORT_TIMEOUT = 2  # seconds within which a request must get its response, whatever the state of the broker

# Jobs for tests. They record what they do in a file and in the database.
JOBS = """
import os
import time
from pathlib import Path

from sqlalchemy import text

{imports}
from {package}.core.database import get_session

HERE = Path(__file__).parent


def record(*words):
    with (HERE / "records").open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")


{high}
def high(number):
    record("high", number)


{low}
def low(number):
    record("low", number)
    return number


{default}
def blocking(number):
    "Block until the file `continue` exists, and save once."
    record("started", number, os.getpid())
    while not (HERE / "continue").exists():
        time.sleep(0.05)
    get_session().execute(text("INSERT INTO effect VALUES (:number) ON CONFLICT DO NOTHING"), {{"number": number}})
    get_session().commit()
    record("finished", number)


{flaky}
def flaky():
    record("flaky")
    if (HERE / "records").read_text().count("flaky") == 1:
        raise OSError


{crashing}
def crashing():
    record("crashing")
    os.kill(os.getpid(), 9)


{default}
def endless():
    record("endless")
    while True:
        time.sleep(1)


{low}
def fails_once():
    "Fail once with a transient error, after the file `continue` exists."
    record("fails_once")
    if (HERE / "records").read_text().count("fails_once") == 1:
        while not (HERE / "continue").exists():
            time.sleep(0.05)
        raise ConnectionError
    record("recovered")


{default}
def minutely():
    record("minutely")


{default}
def reading(number):
    "Query the database until the file `continue` exists."
    while True:
        get_session().scalar(text("SELECT 1"))
        record("reading", number)
        if (HERE / "continue").exists():
            return
        time.sleep(0.05)
"""
CELERY = {
    "imports": "from celery import shared_task",
    "high": "@shared_task",
    "default": "@shared_task",
    "low": "@shared_task",
    "flaky": "@shared_task(max_retries=1, autoretry_for=(OSError,))",
    "crashing": "@shared_task(max_retries=1)",
}
RQ = {
    "imports": "from {package}.core.tasks import HIGH, LOW, job",
    "high": "@job(HIGH)",
    "default": "@job()",
    "low": "@job(LOW)",
    "flaky": "@job(max_attempts=2, retry_on=(OSError,))",
    "crashing": "@job(max_attempts=2)",
}
# Code that a project's owner adds to its modules: queues and a schedule.
CELERY_CONFIG = """
task_routes |= {"probe_jobs.high": {"queue": "high"}, "probe_jobs.low": {"queue": "low"}}
task_routes |= {"probe_jobs.fails_once": {"queue": "low"}}
beat_schedule["minutely"] = {"task": "probe_jobs.minutely", "schedule": crontab()}
"""
RQ_CONFIG = """
from probe_jobs import minutely

cron.register(minutely, "default", cron="* * * * *")
"""

# The application, with endpoints and commands that send these jobs.
PROBE = """
import os
import sys

import msgspec
from sqlalchemy import text

import probe_jobs
from {package} import create_app
from {package}.core.database import get_session
from {package}.core.mail import send_mail
from {package}.core.tasks import accepted_response, get_status

app = create_app()
with app.app_context():
    get_session().execute(text("CREATE TABLE IF NOT EXISTS effect (number INTEGER PRIMARY KEY)"))
    get_session().commit()


@app.post("/<name>/<int:number>")
def enqueue(name, number):
    get_session().execute(text("INSERT INTO effect VALUES (:number)"), {{"number": number}})
    job = getattr(probe_jobs, name).delay(number)
    get_session().commit()
    status, code, headers = accepted_response(job.id)
    return {{"id": status.id}}, code, headers


@app.post("/high")
def enqueue_high():
    return {{"id": probe_jobs.high.delay(0).id}}, 202


@app.post("/mail")
def mail():
    return {{"id": send_mail.delay("ada@example.com", "A kite", "3 m").id}}, 202


@app.cli.command()
def enqueue_all():
    "Read lines of names and numbers, and print the IDs of the jobs."
    for line in sys.stdin:
        name, *numbers = line.split()
        print("id", getattr(probe_jobs, name).delay(*map(int, numbers)).id, flush=True)


@app.cli.command()
def request_all():
    "Read methods and paths, and print the statuses of the responses."
    options = {{"base_url": "http://127.0.0.1", "headers": {{"Authorization": os.environ["AUTHORIZATION"]}}}}
    client = app.test_client()
    for line in sys.stdin:
        method, path = line.split()
        print("status", client.open(path, method=method, buffered=True, **options).status_code)


@app.cli.command()
def write_late_states():
    "Store states of one job in an order that Celery's own check would prevent, and print the final state."
    backend = app.extensions["celery"].backend
    for number, states in enumerate(["STARTED SUCCESS RETRY", "SUCCESS FAILURE", "FAILURE STARTED", "FAILURE SENT",
                                     "FAILURE SUCCESS", "STARTED RETRY"]):
        for state in states.split():
            meta = {{"status": state, "result": None, "task_id": f"late{{number}}"}}
            backend.set(backend.get_key_for_task(f"late{{number}}"), backend.encode(meta))
        print("final", states, "->", backend.get_task_meta(f"late{{number}}", cache=False)["status"])


@app.cli.command()
def states():
    "Read IDs, and print the statuses of the jobs."
    for line in sys.stdin:
        print("state", msgspec.json.encode(get_status(line.strip())).decode())
"""
PROBE += ALLOW_ANONYMOUS


def combination_with(queue: Value, **options: Value) -> Combination:
    """Return a combination with this task queue, a database and the example, whose other options may be replaced."""
    expected = {"task_queue": queue, "example_app": True}
    found = [
        combination
        for combination in TOKEN_COMBINATIONS
        if expected.items() <= combination.options.items() and combination.options["database"] != "none"
    ]
    for combination in found:
        if options.items() <= combination.options.items():
            return combination
    name = "-".join([found[0].id, *map(str, options.values())])
    return replace(found[0], id=name, options={**found[0].options, **options})


QUEUED = [combination_with(queue) for queue in BROKERS]
DATABASES: dict[Value, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mysql": MariaDB}
POOLED = [
    combination_with("celery-redis", database="postgresql"),
    combination_with("celery-rabbitmq", database="mysql"),
    combination_with("rq-redis", database="postgresql"),
]
# The limit that is the first to end a job whose database hangs.
LIMITS = {
    "database": {"DATABASE_TIMEOUT": "3", "DATABASE_STATEMENT_TIMEOUT": "2", "JOB_TIME_LIMIT": "60"},
    "job": {"DATABASE_TIMEOUT": "60", "JOB_TIME_LIMIT": "3"},
}


class JobsProject(DeployedProject):
    """A deployed project with a broker and an SQLite database."""

    def __init__(self, folder: Path, programs: Path, run: Run, clean_env: dict[str, str], broker: Broker) -> None:
        """Add the jobs and the application for tests."""
        super().__init__(folder, programs, run, {**clean_env, **SHORT_LIMITS})
        package = folder / "src" / self.package
        self.uses_celery = (package / "celeryconfig.py").exists()
        name, addition, decorators = (
            ("celeryconfig", CELERY_CONFIG, CELERY) if self.uses_celery else ("cron_config", RQ_CONFIG, RQ)
        )
        config = package / f"{name}.py"
        config.write_text(config.read_text(encoding="utf-8") + addition, encoding="utf-8")
        jobs = JOBS.format(**decorators | {"package": "{package}"}).replace("{package}", self.package)
        (folder / "probe_jobs.py").write_text(jobs, encoding="utf-8")
        (folder / "probe.py").write_text(PROBE.format(package=self.package), encoding="utf-8")
        (folder / "results").mkdir()
        self.application, self.broker = "probe", broker
        self.variables |= {
            "BROKER_URL": broker.url,
            "RESULT_URL": f"file://{folder}/results",
            "DATABASE_URL": f"sqlite:///{folder}/production.sqlite3",
        }

    def enqueue(self, *lines: str) -> list[str]:
        """Send jobs, such as `low 3`, and return their IDs."""
        result = self.flask("enqueue-all", typed="\n".join(lines))
        ids = re.findall(r"(?m)^id (\S+)$", result.stdout)
        assert len(ids) == len(lines), result.stdout + result.stderr
        return ids

    def states(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return the statuses of jobs."""
        result = self.flask("states", typed="\n".join(ids))
        return [json.loads(line) for line in re.findall(r"(?m)^state (.*)$", result.stdout)]

    def request_all(self, *requests: str, **variables: str) -> list[int]:
        """Send requests, such as `GET /`, in one process and return the statuses; fail if a traceback is logged."""
        variables["AUTHORIZATION"] = AUTHORIZATION["Authorization"]
        result = self.flask("request-all", typed="\n".join(requests), **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr
        return [int(status) for status in re.findall(r"(?m)^status (\d+)$", result.stdout)]

    def counts(self) -> dict[str, int]:
        """Return the numbers of queued and failed jobs."""
        result = self.flask("jobs", "queues")
        assert result.returncode == 0, result.stdout + result.stderr
        return {name: int(count) for name, count in re.findall(r"(?m)^(\w+)\t(\d+)$", result.stdout)}

    def command(self, name: str) -> list[str | Path]:
        """Return the documented command of the library."""
        worker = f"{self.package}.worker"
        celery = (self.programs / "celery", "--quiet", "-A", worker)
        rq = (self.programs / "rq", "worker", "--config", worker, "--worker-class", f"{worker}.Worker")
        commands: dict[str, list[str | Path]] = {
            "worker": [*celery, "worker", "-I", "probe_jobs"] if self.uses_celery else [*rq],
            "scheduler": [*celery, "beat"]
            if self.uses_celery
            else [self.programs / "flask", "--app", "probe", "scheduler"],
        }
        return commands[name]

    def has_worker(self) -> bool:
        """Return whether a worker on this machine responds."""
        if not self.uses_celery:
            return self.flask("worker-health").returncode == 0
        node = f"celery@{socket.gethostname()}"
        command = [self.programs / "celery", "-A", f"{self.package}.worker", "inspect", "ping", "-d", node]
        return self.run(*command, cwd=self.folder, **self.variables).returncode == 0

    @contextmanager
    def running(self, command: str, **variables: str) -> Iterator[Popen[bytes]]:
        """Run a worker or a scheduler within a `with` block."""
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(command),
                cwd=self.folder,
                env={**self.variables, **variables},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield process
            except BaseException:
                print((self.folder / f"{command}.log").read_text(encoding="utf-8", errors="replace"))
                raise
            finally:
                kill(process)

    @contextmanager
    def supervised(self, command: str, **variables: str) -> Iterator[None]:
        """Run a worker or a scheduler that is restarted whenever it ends, as by Compose or systemd."""
        done = Event()

        def run() -> None:
            while not done.is_set():
                with self.running(command, **variables) as process:
                    while process.poll() is None and not done.wait(0.1):
                        pass

        with ThreadPoolExecutor(1) as pool:
            supervisor = pool.submit(run)
            try:
                yield
            finally:
                done.set()
                supervisor.result()

    def records(self, kind: str = "") -> list[str]:
        """Return the lines that jobs have recorded, in order."""
        with suppress(FileNotFoundError):
            return [line for line in (self.folder / "records").read_text().splitlines() if line.startswith(kind)]
        return []

    def failed_attempts(self, job: str) -> list[dict[str, Any]]:
        """Return the log records of a job's failed attempts, in order."""
        if not (self.folder / "worker.log").exists():
            return []
        lines = (self.folder / "worker.log").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [one for one in records if str(one.get("job")).endswith(f".{job}") and one.get("outcome") == "failed"]

    def has_records(self, kind: str, count: int) -> Callable[[], bool]:
        """Return a condition: jobs have recorded at least `count` lines of a kind."""
        return lambda: len(self.records(kind)) >= count

    def saved_numbers(self) -> list[int]:
        """Return the numbers that jobs have saved in the database."""
        with closing(sqlite3.connect(self.folder / "production.sqlite3")) as connection:
            return [number for (number,) in connection.execute("SELECT number FROM effect ORDER BY number")]


def kill(process: Popen[bytes]) -> None:
    """Kill a worker and all of its child processes immediately, as when a machine fails."""
    for number in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def brokers() -> Iterator[Callable[[type[Broker]], Broker]]:
    """Return a function that returns the broker of a class; each starts on first use, once per process."""
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(kind.running()))


@pytest.fixture
def deployed(
    combination: Combination,
    workspace: Path,
    venv_bin: Path,
    run: Run,
    clean_env: dict[str, str],
    brokers: Callable[[type[Broker]], Broker],
) -> JobsProject:
    """Return the project with production settings and an empty broker."""
    broker = brokers(BROKERS[combination.options["task_queue"]])
    broker.clear()
    return JobsProject(workspace, venv_bin, run, clean_env, broker)


def test_every_task_queue_is_tested() -> None:
    """Every value of the option has a broker here or needs none."""
    assert {*OPTIONS["task_queue"]} == BROKERS.keys() | WITHOUT_BROKER


@parametrize_combinations(QUEUED)
def test_high_priority_job_runs_first(combination: Combination, deployed: JobsProject) -> None:
    """A job of a higher queue overtakes queued ones, and `jobs queues` prints the queue sizes."""
    ids = deployed.enqueue(*(f"low {number}" for number in range(20)), "high 0")
    assert deployed.counts() == {"high": 1, "default": 0, "low": 20, "failed": 0}
    assert not deployed.has_worker()
    with deployed.running("worker", WORKER_CONCURRENCY="1"):
        wait_until(lambda: len(deployed.records()) == 21)
        assert deployed.has_worker()
    assert deployed.records().index("high 0") <= MAX_OVERTAKING[str(combination.options["task_queue"])]
    assert deployed.records("low") == [f"low {number}" for number in range(20)]
    first, *_, last = deployed.states(ids)
    assert (first["state"], first["result"], last["state"]) == ("succeeded", 0, "succeeded")
    if isinstance(deployed.broker, RedisBroker):
        keys = deployed.broker.command("KEYS", f"*{ids[0]}*")
        ttls = [int(*deployed.broker.command("TTL", key)) for key in keys]
        assert keys
        assert all(0 < ttl <= 24 * 3600 for ttl in ttls), keys


@parametrize_combinations(QUEUED)
def test_job_of_killed_worker_runs_again(deployed: JobsProject) -> None:
    """After SIGKILL of all processes during a job another worker runs it, and its effect happens once."""
    (job_id,) = deployed.enqueue("blocking 1")
    with deployed.running("worker") as worker:
        wait_until(lambda: len(deployed.records("started")) == 1)
        kill(worker)
    assert deployed.saved_numbers() == []
    (deployed.folder / "continue").touch()
    with deployed.running("worker"):
        # Redis delivers the job again when the time that jobs may take is over, which is half a minute.
        wait_until(lambda: len(deployed.records("finished")) == 1, timeout=2 * TIMEOUT)
        wait_until(lambda: deployed.states([job_id])[0]["state"] == "succeeded")
    assert len(deployed.records("started")) == 2
    assert deployed.saved_numbers() == [1]
    assert deployed.states([job_id])[0]["attempts"] == 2


@parametrize_combinations(QUEUED)
def test_kills_of_broker_and_worker_lose_no_job(combination: Combination, deployed: JobsProject) -> None:
    """No job is lost by SIGKILL of a worker that prefetched jobs, or of the broker while jobs run and are retried.

    The workarounds are needed until kombu 5.7.0 is replaced or fixed: it takes a message by BRPOP and records it
    afterwards (celery/kombu#305). Celery 5.7.0 drops a message whose next attempt cannot be sent (`Task.retry`).
    """
    expected = {f"low {number}" for number in [*range(8), *range(100, 250)]}
    with deployed.serve() as site:
        for turn in range(2):
            with deployed.running("worker", WORKER_CONCURRENCY="1") as worker:
                assert fetch(f"{site}/low/{4 * turn}", method="POST").status == 202
                wait_until(deployed.has_records("low", 4 * turn + 1))
                os.kill(worker.pid, signal.SIGSTOP)
                for number in range(4 * turn + 1, 4 * turn + 4):
                    assert fetch(f"{site}/low/{number}", method="POST").status == 202
                kill(worker)

    ids = deployed.enqueue("fails_once", *(f"low {number}" for number in range(100, 250)))
    with deployed.supervised("worker", JOB_TIME_LIMIT="3"):
        wait_until(deployed.has_records("fails_once", 1))
        for kills in range(1, KILLS[combination.options["task_queue"]] + 1):
            with deployed.broker.killed():
                (deployed.folder / "continue").touch()
                time.sleep(0.5)
            wait_until(deployed.has_records("low", 30 * kills))
        (deployed.folder / "continue").touch()
        wait_until(lambda: expected <= {*deployed.records("low")} and bool(deployed.records("recovered")), timeout=120)
        wait_until(lambda: {status["state"] for status in deployed.states(ids)} == {"succeeded"})


@parametrize_combinations(
    [combination for combination in QUEUED if str(combination.options["task_queue"]).startswith("celery")]
)
def test_late_state_does_not_replace_a_final_one(combination: Combination, deployed: JobsProject) -> None:
    """A RETRY that is written after the next attempt succeeded is ignored, in each result backend."""
    expected = {
        "STARTED SUCCESS RETRY": "SUCCESS",
        "SUCCESS FAILURE": "SUCCESS",
        "FAILURE STARTED": "FAILURE",
        "FAILURE SENT": "SENT",
        "FAILURE SUCCESS": "SUCCESS",
        "STARTED RETRY": "RETRY",
    }
    with ExitStack() as stack:
        backends: list[dict[str, str]] = [{}]
        if combination.options["task_queue"] == "celery-rabbitmq":
            backends.append({"RESULT_URL": stack.enter_context(Redis.running()).url})
        for settings in backends:
            result = deployed.flask("write-late-states", **settings)
            assert dict(re.findall(r"(?m)^final (.*) -> (\w+)$", result.stdout)) == expected, result.stderr


@parametrize_combinations(
    [combination for combination in QUEUED if BROKERS[combination.options["task_queue"]] is RabbitMQ]
)
def test_job_time_limit_fits_into_the_consumer_timeout(deployed: JobsProject) -> None:
    """RabbitMQ 3.10 redelivers a message after 30 minutes and closes the channel: no job may take that long."""
    variables = deployed.variables | {"JOB_TIME_LIMIT": "3600"}
    result = deployed.run(*deployed.command("worker"), cwd=deployed.folder, **variables)
    assert_fails_with(result, "JOB_TIME_LIMIT: expected at most 595 with RabbitMQ 3")


@parametrize_combinations(QUEUED)
def test_sigterm_finishes_the_running_job(deployed: JobsProject) -> None:
    """After SIGTERM the running job finishes, no other one starts, and none is lost."""
    ids = deployed.enqueue(*(f"blocking {number}" for number in range(5)))
    with deployed.running("worker", WORKER_CONCURRENCY="1") as worker:
        wait_until(lambda: len(deployed.records("started")) == 1)
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(1)
        (deployed.folder / "continue").touch()
        assert worker.wait(30) == 0
    assert len(deployed.records("started")) == len(deployed.records("finished")) == 1
    states = [status["state"] for status in deployed.states(ids)]
    assert sorted(states) == ["queued"] * 4 + ["succeeded"]
    assert deployed.counts()["default"] == 4
    with deployed.running("worker"):
        wait_until(lambda: len(deployed.records("finished")) == 5)
    assert deployed.saved_numbers() == [0, 1, 2, 3, 4]


@parametrize_combinations(QUEUED)
def test_process_is_replaced_after_its_number_of_jobs(deployed: JobsProject) -> None:
    """A process runs several jobs, until its limit: their memory does not accumulate forever."""
    (deployed.folder / "continue").touch()
    deployed.enqueue(*(f"blocking {number}" for number in range(4)))
    with deployed.running("worker", WORKER_CONCURRENCY="1", WORKER_MAX_TASKS_PER_CHILD="2"):
        wait_until(deployed.has_records("finished", 4))
    processes = Counter(line.split()[2] for line in deployed.records("started"))
    assert [*processes.values()] == [2, 2]


@parametrize_combinations([combination_with("rq-redis")])
def test_process_of_a_failed_job_is_replaced(deployed: JobsProject) -> None:
    """A failure or a time limit may leave anything behind; then the next job starts in another process."""
    (deployed.folder / "continue").touch()
    deployed.enqueue("blocking 1", "blocking 2", "endless", "blocking 3", "blocking 4")
    with deployed.running("worker", JOB_TIME_LIMIT="1"):
        wait_until(deployed.has_records("finished", 4))
    first, second, third, fourth = [line.split()[2] for line in deployed.records("started")]
    assert first == second
    assert second != third
    assert third == fourth


@parametrize_combinations(QUEUED)
def test_queued_jobs_survive_broker_restart(deployed: JobsProject) -> None:
    """Redis has its append-only file, RabbitMQ durable queues. A running worker reconnects, or ends with an error."""
    deployed.enqueue(*(f"low {number}" for number in range(30)))
    with deployed.broker.unavailable():
        pass
    assert deployed.counts()["low"] == 30
    with deployed.running("worker") as worker:
        wait_until(lambda: len(deployed.records("low")) == 30)
        with deployed.broker.unavailable():
            pass
        deployed.enqueue("high 1")
        wait_until(lambda: bool(deployed.records("high")) or worker.poll() is not None)
        if worker.poll() is not None:
            assert worker.returncode
            with deployed.running("worker"):
                wait_until(lambda: bool(deployed.records("high")))
    assert sorted(deployed.records("low")) == sorted(f"low {number}" for number in range(30))


@parametrize_combinations(QUEUED)
def test_unavailable_broker_returns_503(deployed: JobsProject) -> None:
    """While the broker is down or hangs, requests get 503 in time and save nothing; afterwards they succeed."""
    with deployed.serve() as site:

        def post_job(number: int) -> int:
            started = time.monotonic()
            response = fetch(f"{site}/low/{number}", method="POST")
            assert time.monotonic() - started < SHORT_TIMEOUT
            assert (response.headers["Retry-After"] is not None) == (response.status == 503)
            return response.status

        assert post_job(1) == 202
        for state in (deployed.broker.unavailable, deployed.broker.paused):
            with state():
                assert [post_job(2), post_job(3)] == [503, 503]
                # RabbitMQ stores the jobs, but not their states.
                status = fetch(f"{site}/api/v1/jobs/unknown", timeout=SHORT_TIMEOUT, **AUTHORIZATION).status
                assert status == (404 if isinstance(deployed.broker, RabbitMQ) else 503)
            wait_until(lambda: post_job(10 + time.monotonic_ns() % 1_000_000) == 202)
    assert {2, 3}.isdisjoint(deployed.saved_numbers())
    with deployed.running("worker"):
        # Sets, since RabbitMQ may get a job twice while it starts again: jobs run at least once.
        wait_until(lambda: {*deployed.records("low")} == {f"low {number}" for number in deployed.saved_numbers()})


@parametrize_combinations(QUEUED)
def test_requests_without_jobs_are_served_while_the_broker_hangs(deployed: JobsProject) -> None:
    """Clients that send jobs do not occupy all threads: all other requests succeed."""
    done = Event()

    def send_jobs(site: str) -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add(fetch(f"{site}/high", method="POST").status)
        return statuses

    with deployed.serve(threads=9, WEB_THREADS="4") as site, ThreadPoolExecutor(24) as pool:
        with deployed.broker.paused():
            clients = [pool.submit(send_jobs, site) for _ in range(24)]
            try:
                with continuous_requests(f"{site}/docs") as others:
                    time.sleep(7)
            finally:
                done.set()
            assert {status for client in clients for status in client.result()} == {503}
        # At first the jobs of all clients wait for the broker's timeout.
        began = min(response.began for response in others) + 2
        later = [response for response in others if response.began > began]
        print(f"all: {Counter(one.status for one in others)}, later: {Counter(one.status for one in later)}")
        assert {response.status for response in later} == {200}
        assert len(later) > 50
        wait_until(lambda: fetch(f"{site}/high", method="POST").status == 202)


@parametrize_combinations(QUEUED)
def test_client_library_errors_are_no_500(deployed: JobsProject) -> None:
    """Any unknown job ID is a 404, whatever its characters; a broker that rejects the login is a 503."""
    job_ids = ["*", "%0A", "a%0A", "%00", "%C3%A9", "%FF", "a" * 300, "a" * 5000, "..%2Fx", "unknown"]
    assert deployed.request_all(*(f"GET /api/v1/jobs/{job_id}" for job_id in job_ids)) == [404] * len(job_ids)
    for url in deployed.broker.wrong_urls():
        # RabbitMQ does not store the states of jobs.
        expected = 404 if isinstance(deployed.broker, RabbitMQ) else 503
        assert deployed.request_all("POST /low/1", "GET /api/v1/jobs/unknown", BROKER_URL=url) == [503, expected], url
    assert_fails_with(deployed.flask("jobs", "queues", BROKER_URL=url), r"does not respond: see BROKER_URL \(.+\)")
    assert deployed.saved_numbers() == []


@parametrize_combinations(QUEUED)
def test_failed_jobs_are_listed_and_retried(deployed: JobsProject) -> None:
    """A job that kills its process and one that never ends are stopped at their limits, listed, and retried."""
    ids = deployed.enqueue("crashing", "endless")
    with deployed.running("worker", JOB_TIME_LIMIT="1"):
        wait_until(lambda: deployed.counts()["failed"] == 2)
    assert deployed.records("crashing") == ["crashing"] * 2
    assert deployed.records("endless") == ["endless"]
    assert [status["state"] for status in deployed.states(ids)] == ["failed", "failed"]
    alerts = [line for line in (deployed.folder / "worker.log").read_text().splitlines() if '"job failed"' in line]
    assert {json.loads(line)["job_id"] for line in alerts} == {*ids}
    output = deployed.flask("jobs", "failed").stdout
    assert all(job_id in output for job_id in ids)
    assert deployed.flask("jobs", "retry", ids[0]).returncode == 0
    assert deployed.counts() == {"high": 0, "default": 1, "low": 0, "failed": 1}
    assert deployed.states(ids[:1])[0]["state"] in {"queued", "retrying"}


@parametrize_combinations(POOLED)
@pytest.mark.parametrize("limit", LIMITS)
def test_hanging_database_ends_job_in_time(combination: Combination, deployed: JobsProject, limit: str) -> None:
    """The database hangs during a job, which fails; the worker continues when the database does."""
    with DATABASES[combination.options["database"]].running() as server:
        deployed.variables |= {**LIMITS[limit], "DATABASE_URL": server.create_database().url}
        (job_id,) = deployed.enqueue("reading 1")
        with deployed.running("worker", WORKER_CONCURRENCY="1") as worker:
            wait_until(deployed.has_records("reading", 1))
            with server.paused():
                began = time.monotonic()
                wait_until(lambda: bool(deployed.failed_attempts("reading")))
                assert time.monotonic() - began < 6  # expected: 3 s without other load
            (deployed.folder / "continue").touch()
            deployed.enqueue("low 1")
            wait_until(deployed.has_records("low", 1))
            state = "succeeded" if limit == "database" else "failed"
            wait_until(lambda: deployed.states([job_id])[0]["state"] == state)
            assert worker.poll() is None


@parametrize_combinations(QUEUED)
def test_silent_mail_server_ends_attempt_in_time(deployed: JobsProject, venv_bin: Path) -> None:
    """Meanwhile other jobs run and requests succeed; when the server responds, the mail is sent once."""
    log, port = deployed.folder / "mail.log", free_port()
    deployed.variables |= {"SMTP_URL": f"smtp://127.0.0.1:{port}", "JOB_TIME_LIMIT": "60"}
    with log.open("wb") as output, ExitStack() as stack:
        server = subprocess.Popen(
            [venv_bin / "python", "-u", "-m", "aiosmtpd", "--nosetuid", "--listen", f"127.0.0.1:{port}"],
            stdout=output,
            stderr=output,
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        wait_until(lambda: is_listening(port), server)
        site = stack.enter_context(deployed.serve())
        worker = stack.enter_context(deployed.running("worker", WORKER_CONCURRENCY="1"))
        server.send_signal(signal.SIGSTOP)
        for number, path in enumerate(("mail", "low/1")):
            assert fetch(f"{site}/{path}", method="POST", timeout=SHORT_TIMEOUT).status == 202, number
        while not deployed.failed_attempts("send_mail"):
            began = time.monotonic()
            assert fetch(f"{site}/health/live").status == 200
            assert time.monotonic() - began < SHORT_TIMEOUT  # expected: 0.01 s without other load
            time.sleep(0.1)
        (attempt,) = deployed.failed_attempts("send_mail")
        assert 9_000 < attempt["duration_ms"] < 13_000
        wait_until(deployed.has_records("low", 1))
        assert "MESSAGE" not in log.read_text()
        server.send_signal(signal.SIGCONT)
        wait_until(lambda: "MESSAGE" in log.read_text())
        wait_until(lambda: set(deployed.counts().values()) == {0})
        assert log.read_text().count("MESSAGE FOLLOWS") == 1
        assert worker.poll() is None


def is_listening(port: int) -> bool:
    """Return whether a port of this machine accepts connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@parametrize_combinations(QUEUED)
def test_two_schedulers_send_each_job_once(deployed: JobsProject) -> None:
    """Both schedulers are due in the same minute and one sends the job, also when the clock is set or DST ends.

    Celery 5.7.0 and RQ 3.0.0 wait by the system clock: after it is set back, they send nothing until it has caught up.
    """
    log = deployed.folder / "scheduler.log"
    clock = Clock(deployed.folder / "clock")
    # Ten seconds later summer time ends.
    clock.set("2026-10-25T00:59:50Z")
    variables = {**clock.variables, "TZ": "Europe/Berlin", "LOG_LEVEL": "DEBUG"}

    def count_lines(text: str) -> int:
        return sum('minutely"' in line and text in line for line in log.read_text().splitlines())

    def is_due_for_both(times: int) -> Callable[[], bool]:
        return lambda: count_lines("scheduled job was sent") >= 2 * times

    with deployed.running("scheduler", **variables), deployed.running("scheduler", **variables):
        wait_until(is_due_for_both(1), timeout=90)
        # Set the clock back by an hour, to a minute that was not due before; then forward by more than an hour.
        for times, timestamp in enumerate(("2026-10-24T23:58:55Z", "2026-10-25T01:30:10Z"), start=2):
            clock.set(timestamp)
            wait_until(is_due_for_both(times), timeout=90)
    # On a slow machine more minutes are due.
    skipped = count_lines("sent by another scheduler")
    assert skipped >= 3
    assert deployed.counts()["default"] == count_lines("scheduled job was sent") - skipped


@parametrize_combinations(QUEUED)
def test_tls_certificate_is_verified(combination: Combination, deployed: JobsProject) -> None:
    """Clients, the worker and the scheduler reject an unknown CA or host name, for jobs and results."""
    url, authority = deployed.broker.tls_url, str(certificates.create().authority)
    unknown = str(certificates.create("unknown").authority)
    with ExitStack() as stack:
        clients = [{"BROKER_CA_FILE": ""}]
        right = {"BROKER_URL": url, "BROKER_CA_FILE": authority}
        if combination.options["task_queue"] == "celery-rabbitmq":
            right |= {"RESULT_URL": stack.enter_context(Redis.running()).tls_url, "RESULT_CA_FILE": authority}
            clients.append({"RESULT_CA_FILE": unknown})
        deployed.variables |= right
        with (
            deployed.running("worker", BROKER_CA_FILE=unknown) as worker,
            deployed.running("scheduler", BROKER_URL=url.replace("localhost", "127.0.0.1")) as scheduler,
        ):
            for settings in clients:
                result = deployed.flask("enqueue-all", typed="low 2", **settings)
                assert "Background jobs are unavailable at the moment" in result.stderr
            assert worker.wait(TIMEOUT)
            assert scheduler.wait(TIMEOUT)
        for command in ("worker", "scheduler"):
            assert "the broker does not respond" in (deployed.folder / f"{command}.log").read_text()

        stack.enter_context(deployed.running("worker"))
        stack.enter_context(deployed.running("scheduler"))
        site = stack.enter_context(deployed.serve())
        location = fetch(f"{site}/low/1", method="POST").headers["Location"]
        (flaky,) = deployed.enqueue("flaky")
        jobs = (location, f"/api/v1/jobs/{flaky}")
        wait_until(
            lambda: all(json.loads(fetch(f"{site}{job}", **AUTHORIZATION).text)["state"] == "succeeded" for job in jobs)
        )
    assert deployed.records("low") == ["low 1"]
    assert deployed.records("flaky") == ["flaky"] * 2
