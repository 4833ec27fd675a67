"""How long it takes until a project answers, and what its processes keep in memory."""

import re
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.figures import Figure
from benchmarks.load import Side, in_turns, ratio
from benchmarks.projects import Project

MEGABYTE = 1_000_000
# The seconds of the processor until an application exists.
OURS = "from my_service import create_app; create_app()"
BARE = "from flask import Flask; Flask('bare').add_url_rule('/small', 'small', dict)"
TIMED = "import time; started = time.process_time(); {}; print(time.process_time() - started)"


def measure(project: Project, rounds: int, **settings: str) -> list[Figure]:
    """Take turns."""

    def construct(what: str) -> float:
        return float(project.run("python", "-c", TIMED.format(what), **settings).splitlines()[-1])

    made = in_turns({"ours": lambda: construct(OURS), "bare": lambda: construct(BARE)}, rounds)
    started = in_turns({"start": lambda: until_first_answer(project, **settings)}, rounds)["start"]
    return [
        Figure(
            "memory of one more worker, after preload (PSS)",
            memory_of_a_worker(project, **settings),
            30,
            at_least=False,
            unit=" MB",
        ),
        Figure("start to first answer", median(started), 1.5, at_least=False, unit=" s"),
        Figure(
            "import and `create_app()`: the project / Flask alone",
            ratio(made["ours"], made["bare"]),
            3,
            at_least=False,
            medians=" / ".join(f"{median(made[name]) * 1000:.0f} ms CPU" for name in ("ours", "bare")),
        ),
    ]


def until_first_answer(project: Project, **settings: str) -> float:
    """Start the server, and ask until it answers."""
    started = perf_counter()
    with project.serving(settings):
        return perf_counter() - started


def memory_of_a_worker(project: Project, **settings: str) -> float:
    """Compare one worker with three, after some requests; in megabytes."""
    found = []
    for number in (1, 3):
        with project.serving({**settings, "WEB_CONCURRENCY": str(number)}) as (port, session):
            address = f"http://127.0.0.1:{port}/small"
            Side(address, b'{"message":"It runs.","numbers":[1,2,3]}', (session,)).ask(1)
            found.append(sum(proportional_size(process) for process in members(session)))
    return (found[1] - found[0]) / 2 / MEGABYTE


def members(session: int) -> list[int]:
    """List the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        if int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def proportional_size(process: int) -> int:
    """Read how many bytes a process keeps, with its share of what it shares (man 5 proc, smaps_rollup)."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    (kilobytes,) = re.findall(r"(?m)^Pss: +(\d+) kB$", text)
    return int(kilobytes) * 1024
