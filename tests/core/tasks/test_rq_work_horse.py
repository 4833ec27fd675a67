import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.core.tasks import rq_work_horse
from {{ cookiecutter.package_name }}.core.tasks.rq_work_horse import WorkHorse

Run = Callable[[WorkHorse], object]


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check often, and fail instead of waiting forever."""
    monkeypatch.setattr(rq_work_horse, "CHECK_INTERVAL", 0.01)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@contextmanager
def forked(run: Run) -> Iterator[WorkHorse]:
    """Run a function in a work horse, which ends after it."""
    horse = WorkHorse()
    if not (pid := os.fork()):
        try:
            run(horse)
        finally:
            os._exit(0)
    horse.started(pid)
    try:
        yield horse
    finally:
        horse.stop()
        if horse.is_running:
            os.kill(pid, signal.SIGKILL)


def run_all(horse: WorkHorse) -> None:
    """Receive executions until the worker stops."""
    while horse.receive():
        pass


def has_ended(horse: WorkHorse) -> bool:
    """Return whether the process ends within five seconds."""
    for _ in range(500):
        if not horse.check():
            return True
        time.sleep(0.01)
    return False


def test_work_horse_runs_one_job_after_the_other() -> None:
    with forked(run_all) as horse:
        for number in range(3):
            assert horse.wait() == 0
            # The alarm of a heartbeat may interrupt it.
            assert horse.wait() == 0
            assert horse.send(f"job:{number}")
        assert horse.wait() == 0
        assert horse.is_running
    assert has_ended(horse)


def test_end_of_the_process_ends_the_job() -> None:
    with forked(lambda _: None) as horse:
        assert horse.wait() is None
        assert has_ended(horse)
        assert not horse.send("job:1")


def test_killed_process_gets_no_job() -> None:
    with forked(run_all) as horse:
        assert horse.wait() == 0
        os.kill(horse.pid, signal.SIGKILL)
        assert has_ended(horse)
        assert not horse.send("job:1")


def test_process_may_end_before_it_reads_the_next_job() -> None:
    with forked(run_all) as horse:
        assert horse.wait() == 0
        os.kill(horse.pid, signal.SIGSTOP)
        assert horse.send("job:1")
        os.kill(horse.pid, signal.SIGKILL)
        # The kernel resets the connection.
        assert horse.wait() is None
        assert has_ended(horse)
        assert horse.status == signal.SIGKILL


def test_process_that_closed_its_connection_gets_no_job() -> None:
    def close(horse: WorkHorse) -> None:
        horse.process_end.close()
        time.sleep(1)

    with forked(close) as horse:
        assert horse.wait() is None
        assert not horse.send("job:1")


def test_process_that_was_reaped_has_ended() -> None:
    with forked(lambda _: None) as horse:
        os.waitpid(horse.pid, 0)
        assert not horse.check()


def fork_daemon(_: WorkHorse) -> None:
    """Fork a process that keeps the connection open."""
    if not os.fork():
        time.sleep(2)


def test_process_of_a_job_does_not_hide_its_end() -> None:
    with forked(fork_daemon) as horse:
        started = time.monotonic()
        # Its status is known: it has not been killed.
        assert horse.wait() == 0
        assert time.monotonic() - started < 1.5


def test_busy_process_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rq_work_horse, "STOP_TIMEOUT", 0.01)
    with forked(lambda _: time.sleep(60)) as horse:
        started = time.monotonic()
        horse.stop()
        assert time.monotonic() - started < 5
        os.kill(horse.pid, signal.SIGKILL)
        assert has_ended(horse)


def test_process_without_a_worker_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    horse = WorkHorse()
    with horse.process_end:
        # It closes the only copy of the other end.
        assert not horse.receive()
    horse = WorkHorse()
    with horse.process_end, horse.worker_end.dup() as worker_end:
        worker_end.sendall(b"job:1")
        horse.worker_pid = os.getppid()
        assert horse.receive() == "job:1"
        assert worker_end.recv(2) == b"."
        # Another process holds the other end open.
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert not horse.receive()


@pytest.mark.parametrize(
    ("jobs", "megabytes", "expected"),
    [(2, 2**20, [True, False]), (9, 2**20, [True, True]), (9, 1, [False, False])],
)
def test_process_has_limits(jobs: int, megabytes: int, expected: list[bool]) -> None:
    settings: Any = SimpleNamespace(WORKER_MAX_TASKS_PER_CHILD=jobs, WORKER_MAX_MEMORY_MB=megabytes)
    horse = WorkHorse()
    with horse.worker_end, horse.process_end:
        assert [horse.may_continue(settings) for _ in expected] == expected
