"""Time of the first commands in a new project, with a warm package cache: `make setup`, `make test` and `make run`."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter
from typing import NamedTuple

from benchmarks.load import TICKS_PER_SECOND
from benchmarks.startup import process_ids
from tests.services import fetch, free_port, stop, wait_until

COMMANDS = ("make setup", "make test", "make run")


class Times(NamedTuple):
    """Wall time and CPU time in seconds, with all child processes."""

    wall: float
    cpu: float


def time_children(run: Callable[[], object]) -> Times:
    """Return the times of a function that starts processes and waits for their ends."""
    started, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
    run()
    after = getrusage(RUSAGE_CHILDREN)
    return Times(perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(render: Path, folder: Path) -> dict[str, Times]:
    """Return the times of `make setup`, of `make test` after it, and of `make run` in another new project."""
    environ = shell()

    def make(target: str) -> None:
        # The tests of version 0.2.0 fail after `make setup`, which takes as long.
        subprocess.run(["make", target], check=target != "test", cwd=folder, env=environ, capture_output=True)

    create(render, folder)
    found = {f"make {target}": time_children(lambda target=target: make(target)) for target in ("setup", "test")}  # type: ignore[misc]
    create(render, folder)
    return {**found, "make run": time_first_response(folder, environ)}


def shell() -> dict[str, str]:
    """Return the environment of a shell, whose programs store the bytecode of modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def create(render: Path, folder: Path) -> None:
    """Copy a rendered project to a folder that has nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(render, folder)


def time_first_response(folder: Path, environ: dict[str, str]) -> Times:
    """Start `make run`, and return the times until its first page."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        started = perf_counter()
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"], cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until(lambda: has_page(port), process, timeout=300)
            return Times(perf_counter() - started, cpu_with_children(process.pid))
        finally:
            stop(process, signal.SIGINT)


def has_page(port: int) -> bool:
    """Return whether the home page responds."""
    try:
        return fetch(f"http://127.0.0.1:{port}/", timeout=30, Accept="text/html").status == 200
    except OSError:
        return False


def cpu_with_children(session: int) -> float:
    """Return the CPU time in seconds of the processes of a session and of their children that have ended."""
    stats = (Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in process_ids(session))
    return sum(sum(map(int, fields[11:15])) for fields in stats) / TICKS_PER_SECOND
