"""Background jobs on the real brokers: workers that are killed, brokers that go, two schedulers."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.answers import OPTIONS, ROWS, Row, Value, each
from tests.conftest import Run
from tests.production import Production
from tests.services import Broker, RabbitMQ, RedisBroker, fetch, wait_until

BROKERS: dict[Value, type[Broker]] = {
    "celery-redis": RedisBroker,
    "celery-rabbitmq": RabbitMQ,
    "rq-redis": RedisBroker,
}
EMBEDDED = {"none"}
# How many jobs of lower queues may come before one of a higher: RabbitMQ hands a worker one of each queue.
AHEAD = {"celery-redis": 0, "celery-rabbitmq": 3, "rq-redis": 0}

QUICK = {"JOB_TIME_LIMIT": "6", "JOB_RETRY_MAX_DELAY": "1"}
PROMPT = 2  # seconds in which a client is answered whatever happens to the broker

# The application with jobs that only tests need. What they did is in files, what they saved in the database.
PROBE = """
import os
import sys
import time
from pathlib import Path

import msgspec
from sqlalchemy import text

from {package} import create_app
from {package}.database import get_session
from {package}.tasks import HIGH, LOW, accept, find, job

HERE = Path(__file__).parent


def note(*words):
    with (HERE / "notes").open("a") as notes:
        notes.write(" ".join(map(str, words)) + "\\n")


@job(queue=HIGH)
def high(number):
    note("high", number)


@job(queue=LOW)
def low(number):
    note("low", number)
    return number


@job()
def held(number):
    "Work until it is let go, and save once."
    note("begun", number, os.getpid())
    while not (HERE / "go").exists():
        time.sleep(0.05)
    get_session().execute(text("INSERT INTO effect VALUES (:number) ON CONFLICT DO NOTHING"), {{"number": number}})
    get_session().commit()
    note("ended", number)


@job(attempts=2)
def deadly():
    note("deadly")
    os.kill(os.getpid(), 9)


@job()
def endless():
    note("endless")
    while True:
        time.sleep(1)


@job(cron="* * * * *")
def minutely():
    note("minutely")


app = create_app()
with app.app_context():
    get_session().execute(text("CREATE TABLE IF NOT EXISTS effect (number INTEGER PRIMARY KEY)"))
    get_session().commit()


@app.post("/<name>/<int:number>")
def ask(name, number):
    get_session().execute(text("INSERT INTO effect VALUES (:number)"), {{"number": number}})
    job_id = {{"high": high, "low": low, "held": held}}[name].enqueue(number)
    get_session().commit()
    status, code, headers = accept(job_id)
    return {{"id": status.id}}, code, headers


@app.cli.command()
def enqueue_all():
    "Read lines of names and numbers, and write the jobs' ids."
    for line in sys.stdin:
        name, *numbers = line.split()
        print("id", globals()[name].enqueue(*map(int, numbers)), flush=True)


@app.cli.command()
def states():
    "Read ids, and write what is known of them."
    for line in sys.stdin:
        print("state", msgspec.json.encode(find(line.strip())).decode())
"""


def row_of(queue: Value) -> Row:
    """A row of a choice, with a database and the example."""
    wanted = {"task_queue": queue, "example_app": True}
    return next(row for row in ROWS if wanted.items() <= row.options.items() and row.options["database"] != "none")


QUEUED = [row_of(queue) for queue in BROKERS]


class Jobs(Production):
    """A project in production, with a broker and an SQLite file."""

    def __init__(self, folder: Path, programs: Path, run: Run, bare: dict[str, str], broker: Broker) -> None:
        """Add the probe."""
        super().__init__(folder, programs, run, {**bare, **QUICK})
        (folder / "probe.py").write_text(PROBE.format(package=self.package), encoding="utf-8")
        (folder / "results").mkdir()
        self.application, self.broker = "probe", broker
        self.variables |= {
            "BROKER_URL": broker.url,
            "RESULT_URL": f"file://{folder}/results",
            "DATABASE_URL": f"sqlite:///{folder}/production.sqlite3",
        }

    def enqueue(self, *lines: str) -> list[str]:
        """Have jobs done: `low 3`; gives their ids."""
        result = self.flask("enqueue-all", typed="\n".join(lines))
        ids = re.findall(r"(?m)^id (\S+)$", result.stdout)
        assert len(ids) == len(lines), result.stdout + result.stderr
        return ids

    def states(self, ids: list[str]) -> list[dict[str, Any]]:
        """What is known of jobs."""
        result = self.flask("states", typed="\n".join(ids))
        return [json.loads(line) for line in re.findall(r"(?m)^state (.*)$", result.stdout)]

    def counts(self) -> dict[str, int]:
        """How many jobs wait, and how many failed."""
        result = self.flask("jobs", "queues")
        assert result.returncode == 0, result.stdout + result.stderr
        return {name: int(count) for name, count in re.findall(r"(?m)^(\w+)\t(\d+)$", result.stdout)}

    @contextmanager
    def running(self, command: str, **variables: str) -> Iterator[Popen[bytes]]:
        """Run a worker or a scheduler for as long as the block takes."""
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [self.programs / "flask", "--app", "probe", command],
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

    def notes(self, kind: str = "") -> list[str]:
        """What jobs did, in order."""
        with suppress(FileNotFoundError):
            return [line for line in (self.folder / "notes").read_text().splitlines() if line.startswith(kind)]
        return []

    def saved(self) -> list[int]:
        """What is in the database."""
        with closing(sqlite3.connect(self.folder / "production.sqlite3")) as connection:
            return [number for (number,) in connection.execute("SELECT number FROM effect ORDER BY number")]


def children(process: int) -> list[int]:
    """All processes that one has started, and theirs."""
    task = Path(f"/proc/{process}/task/{process}/children")
    with suppress(FileNotFoundError):
        own = [int(child) for child in task.read_text().split()]
        return [*own, *(grandchild for child in own for grandchild in children(child))]
    return []


def kill(process: Popen[bytes]) -> None:
    """End a worker and all of its processes at once, as when its machine fails."""
    for number in [process.pid, *children(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def brokers() -> Iterator[Callable[[type[Broker]], Broker]]:
    """Brokers by their kind: each is started once in a process, when it is first wanted."""
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(kind.for_a_while()))


@pytest.fixture
def production(
    row: Row,
    workspace: Path,
    environment: Path,
    run: Run,
    bare: dict[str, str],
    brokers: Callable[[type[Broker]], Broker],
) -> Jobs:
    """The project in production, on a broker without jobs."""
    broker = brokers(BROKERS[row.options["task_queue"]])
    broker.clear()
    return Jobs(workspace, environment, run, bare, broker)


def test_every_choice_is_proved() -> None:
    """A value has a broker here, or needs none."""
    assert {*OPTIONS["task_queue"]} == BROKERS.keys() | EMBEDDED


@each([row for row in QUEUED if row.options["task_queue"] == "rq-redis"])
def test_tests_pass(production: Jobs) -> None:
    """The project's own tests of jobs, on the real server instead of the embedded default."""
    command = [production.programs / "python", "-m", "pytest", "-p", "no:cacheprovider", "tests/tasks"]
    result = production.run(*command, cwd=production.folder, TEST_BROKER_URL=production.broker.url)
    assert result.returncode == 0, result.stdout + result.stderr


@each(QUEUED)
def test_high_overtakes_a_backlog_of_low(row: Row, production: Jobs) -> None:
    """What comes last is done first when it is more urgent, and the figures say what waits."""
    ids = production.enqueue(*(f"low {number}" for number in range(20)), "high 0")
    assert production.counts() == {"high": 1, "default": 0, "low": 20, "failed": 0}
    assert production.flask("worker-health").returncode == 1
    with production.running("worker", WORKER_PROCESSES="1"):
        wait_until(lambda: len(production.notes()) == 21)
        assert production.flask("worker-health").returncode == 0
    assert production.notes().index("high 0") <= AHEAD[str(row.options["task_queue"])]
    assert production.notes("low") == [f"low {number}" for number in range(20)]
    first, *_, last = production.states(ids)
    assert (first["state"], first["result"], last["state"]) == ("succeeded", 0, "succeeded")
    if isinstance(production.broker, RedisBroker):
        kept = production.broker.ask("KEYS", f"*{ids[0]}*")
        lifetimes = [int(*production.broker.ask("TTL", key)) for key in kept]
        assert kept
        assert all(0 < lifetime <= 24 * 3600 for lifetime in lifetimes), kept


@each(QUEUED)
def test_a_job_whose_worker_is_killed_runs_again(production: Jobs) -> None:
    """SIGKILL of all processes in the middle of a job: another worker does it, and its effect happens once."""
    (job_id,) = production.enqueue("held 1")
    with production.running("worker") as worker:
        wait_until(lambda: len(production.notes("begun")) == 1)
        kill(worker)
    assert production.saved() == []
    (production.folder / "go").touch()
    with production.running("worker"):
        wait_until(lambda: len(production.notes("ended")) == 1)
        wait_until(lambda: production.states([job_id])[0]["state"] == "succeeded")
    assert len(production.notes("begun")) == 2
    assert production.saved() == [1]
    assert production.states([job_id])[0]["attempts"] == 2


@each(QUEUED)
def test_a_worker_that_is_told_to_end_ends_its_job_first(production: Jobs) -> None:
    """SIGTERM: the running job finishes, no other one is taken, and none is lost."""
    ids = production.enqueue(*(f"held {number}" for number in range(5)))
    with production.running("worker", WORKER_PROCESSES="1") as worker:
        wait_until(lambda: len(production.notes("begun")) == 1)
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(1)
        (production.folder / "go").touch()
        assert worker.wait(30) == 0
    assert len(production.notes("begun")) == len(production.notes("ended")) == 1
    states = [status["state"] for status in production.states(ids)]
    assert sorted(states) == ["queued"] * 4 + ["succeeded"]
    assert production.counts()["default"] == 4
    with production.running("worker"):
        wait_until(lambda: len(production.notes("ended")) == 5)
    assert production.saved() == [0, 1, 2, 3, 4]


@each(QUEUED)
def test_jobs_that_wait_outlive_a_restart_of_the_broker(production: Jobs) -> None:
    """None is lost: Redis has its file, RabbitMQ its queues. A worker that was there goes on, or says that it ends."""
    production.enqueue(*(f"low {number}" for number in range(30)))
    with production.broker.away():
        pass
    assert production.counts()["low"] == 30
    with production.running("worker") as worker:
        wait_until(lambda: len(production.notes("low")) == 30)
        with production.broker.away():
            pass
        production.enqueue("high 1")
        wait_until(lambda: bool(production.notes("high")) or worker.poll() is not None)
        if worker.poll() is not None:
            assert worker.returncode
            with production.running("worker"):
                wait_until(lambda: bool(production.notes("high")))
    assert sorted(production.notes("low")) == sorted(f"low {number}" for number in range(30))


@each(QUEUED)
def test_a_request_is_refused_while_the_broker_is_gone(production: Jobs) -> None:
    """503 in time and nothing half-done, whether it is stopped or silent; and at once well again."""
    with production.serving() as site:

        def ask(number: int) -> int:
            started = time.monotonic()
            answer = fetch(f"{site}/low/{number}", method="POST")
            assert time.monotonic() - started < PROMPT
            assert (answer.headers["Retry-After"] is not None) == (answer.status == 503)
            return answer.status

        assert ask(1) == 202
        for state in (production.broker.away, production.broker.paused):
            with state():
                assert [ask(2), ask(3)] == [503, 503]
                # RabbitMQ has the jobs, but not their states.
                known = fetch(f"{site}/api/v1/jobs/unknown", within=PROMPT).status
                assert known == (404 if isinstance(production.broker, RabbitMQ) else 503)
            wait_until(lambda: ask(10 + time.monotonic_ns() % 1_000_000) == 202)
    assert {2, 3}.isdisjoint(production.saved())
    with production.running("worker"):
        wait_until(lambda: len(production.notes("low")) == len(production.saved()))


@each(QUEUED)
def test_what_fails_for_good_is_kept(production: Jobs) -> None:
    """A job that kills its process, and one that does not end, stop at their limits; an operator sends one again."""
    ids = production.enqueue("deadly", "endless")
    with production.running("worker", JOB_TIME_LIMIT="1"):
        wait_until(lambda: production.counts()["failed"] == 2)
    assert production.notes("deadly") == ["deadly"] * 2
    assert production.notes("endless") == ["endless"]
    assert [status["state"] for status in production.states(ids)] == ["failed", "failed"]
    alerts = [line for line in (production.folder / "worker.log").read_text().splitlines() if '"job failed"' in line]
    assert {json.loads(line)["job_id"] for line in alerts} == {*ids}
    listed = production.flask("jobs", "failed").stdout
    assert all(job_id in listed for job_id in ids)
    assert production.flask("jobs", "retry", ids[0]).returncode == 0
    assert production.counts() == {"high": 0, "default": 1, "low": 0, "failed": 1}


@each(QUEUED)
def test_two_schedulers_send_each_job_once(production: Jobs) -> None:
    """Both see the same minute, and one of them sends its job."""
    log = production.folder / "scheduler.log"

    def told(what: str) -> int:
        return sum('"minutely"' in line and what in line for line in log.read_text().splitlines())

    with production.running("scheduler", LOG_LEVEL="DEBUG"), production.running("scheduler", LOG_LEVEL="DEBUG"):
        wait_until(lambda: told("scheduled job was sent") == 2, within=90)
    assert told("sent by another scheduler") == 1
    assert production.counts()["default"] == 1
