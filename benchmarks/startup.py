"""Startup time and memory of a project."""

import re
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.load import Target
from benchmarks.measurements import Measurement, alternate, ratio
from benchmarks.projects import Project

MEGABYTE = 1_000_000
# Statements whose CPU time is measured.
OURS = "from my_service import create_app; create_app()"
BARE = "from flask import Flask; Flask('bare').add_url_rule('/small', 'small', dict)"
TIMER = "import time; started = time.process_time(); {}; print(time.process_time() - started)"


def measure(project: Project, rounds: int, **settings: str) -> list[Measurement]:
    """Measure the memory of a worker, the startup time, and the import time of the application."""

    def import_seconds(statements: str) -> float:
        return float(project.run("python", "-c", TIMER.format(statements), **settings).splitlines()[-1])

    times = alternate({"ours": lambda: import_seconds(OURS), "bare": lambda: import_seconds(BARE)}, rounds)
    started = alternate({"start": lambda: seconds_to_first_response(project, **settings)}, rounds)["start"]
    return [
        Measurement(
            "memory of an additional worker, with preload (PSS)",
            worker_memory(project, **settings),
            30,
            at_least=False,
            unit=" MB",
        ),
        Measurement("start to first response", median(started), 1.5, at_least=False, unit=" s"),
        Measurement(
            "import and `create_app()`: the project / Flask alone",
            ratio(times["ours"], times["bare"]),
            3,
            at_least=False,
            medians=" / ".join(f"{median(times[name]) * 1000:.0f} ms CPU" for name in ("ours", "bare")),
        ),
    ]


def seconds_to_first_response(project: Project, **settings: str) -> float:
    """Start the server, and return the seconds until its first response."""
    started = perf_counter()
    with project.serving(settings):
        return perf_counter() - started


def worker_memory(project: Project, **settings: str) -> float:
    """Return the memory of a worker in megabytes: half the difference between three workers and one, after requests."""
    sizes = []
    for number in (1, 3):
        with project.serving({**settings, "WEB_CONCURRENCY": str(number)}) as (port, session):
            url = f"http://127.0.0.1:{port}/small"
            Target(url, b'{"message":"It runs.","numbers":[1,2,3]}', (session,)).load(1)
            sizes.append(sum(proportional_set_size(process) for process in process_ids(session)))
    return (sizes[1] - sizes[0]) / 2 / MEGABYTE


def process_ids(session: int) -> list[int]:
    """Return the process IDs of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        if int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def proportional_set_size(process: int) -> int:
    """Return the PSS of a process in bytes: private memory and a share of shared memory (proc_pid_smaps(5))."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    (kilobytes,) = re.findall(r"(?m)^Pss: +(\d+) kB$", text)
    return int(kilobytes) * 1024
