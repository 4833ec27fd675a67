"""Cost of monitoring and error tracking: CPU time of a request and memory of a process, compared with none.

A request is measured with the application server, as it is served, and without it, where the difference is larger than
the noise.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import mean, median
from threading import Thread
from typing import NamedTuple

from benchmarks.bench_check import count_instructions
from benchmarks.measurements import Measurement, alternate
from benchmarks.projects import PACKAGE, Project
from benchmarks.render_time import TEMPLATE
from benchmarks.startup import MEGABYTE, worker_memory
from benchmarks.web import make_target

NONE = "none"
# Processes of each project, one after the other: where a process has its memory changes its time by up to 3 %, which
# is as much as some of the differences.
STARTS = 9


class Variant(NamedTuple):
    """Answers, settings, and the goal in percent of the CPU time of a request without monitoring."""

    answers: dict[str, str]
    settings: dict[str, str]
    goal: float | None = None


class Cost(NamedTuple):
    """The cost with the server, the cost without it, percent of additional instructions, and megabytes of memory."""

    measurement: Measurement
    in_process: Measurement
    instructions: float
    process: float
    worker: float


def make_variants(receiver: int) -> dict[str, Variant]:
    """Return the measured projects; a receiver at this port accepts everything that they export."""
    exports = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver}"}
    sampled = {**exports, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    monitoring = {name: {"monitoring": name} for name in (NONE, "prometheus", "opentelemetry")}
    return {
        NONE: Variant(monitoring[NONE], {}),
        "prometheus": Variant(monitoring["prometheus"], {}, 6),
        "opentelemetry, 1 % of the traces": Variant(monitoring["opentelemetry"], sampled, 8),
        "opentelemetry, all traces": Variant(monitoring["opentelemetry"], exports, 40),
        "sentry, no error": Variant(
            {**monitoring[NONE], "error_tracking": "sentry"},
            {"SENTRY_DSN": f"http://key@127.0.0.1:{receiver}/1"},
            3,
        ),
    }


class Handler(BaseHTTPRequestHandler):
    """Accepts any request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body and respond with 200."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def receiving() -> Iterator[int]:
    """Run a receiver of exports within a `with` block; yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def waiting(project: Project, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that measures a round for each line of its input."""
    path = os.pathsep.join([str(project.folder / "src"), str(TEMPLATE)])
    with subprocess.Popen(
        [project.programs / "python", "-m", "benchmarks.monitored", PACKAGE],
        cwd=project.folder,
        env=project.environ(**settings, PYTHONPATH=path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        yield process


def run_round(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Return the CPU microseconds of a request, and the memory of the process in megabytes."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    microseconds, memory = json.loads(process.stdout.readline())
    return microseconds, memory / MEGABYTE


def measure_served(
    projects: dict[str, Project], environments: dict[str, dict[str, str]], rounds: int, seconds: int
) -> dict[str, float]:
    """Return the CPU microseconds of a request, with gunicorn, which has one process."""
    with ExitStack() as stack:
        targets = {}
        for name, project in projects.items():
            settings = {**environments[name], "WEB_CONCURRENCY": "1"}
            port, session = stack.enter_context(project.serving(settings))
            targets[name] = partial(make_target(port, "/small", session).load, seconds)
        samples = alternate(targets, rounds)
    return {name: median(sample.cpu for sample in found) for name, found in samples.items()}


def measure(folder: Path, programs: Path, rounds: int, seconds: int, **settings: str) -> list[Cost]:
    """Measure the same request to each project in alternation.

    Without a server, the time of a project is the mean of its processes, and the time of a process is the median of its
    rounds.
    """
    with ExitStack() as stack:
        variants = make_variants(stack.enter_context(receiving()))
        projects, environments = {}, {}
        for number, (name, one) in enumerate(variants.items()):
            projects[name] = Project(folder / f"monitoring-{number}", programs, **one.answers)
            environments[name] = settings | one.settings | {"METRICS_FOLDER": str(folder / f"metrics-{number}")}
        starts = []
        for _ in range(STARTS):
            with ExitStack() as processes:
                targets = {
                    name: partial(run_round, processes.enter_context(waiting(project, **environments[name])))
                    for name, project in projects.items()
                }
                starts.append(alternate(targets, rounds))
        cpu = {name: mean(median(time for time, _ in start[name]) for start in starts) for name in variants}
        memory = {name: starts[-1][name][-1][1] for name in variants}
        served = measure_served(projects, environments, rounds, seconds)
        instructions, workers = {}, {}
        for name, project in projects.items():
            instructions[name] = count_instructions(project, "", **environments[name])["small JSON"]
            workers[name] = worker_memory(project, **environments[name])
    return [
        Cost(
            compare(name, served, one.goal),
            compare(name, cpu),
            percent(instructions[name], instructions[NONE]),
            memory[name],
            workers[name],
        )
        for name, one in variants.items()
    ]


def compare(name: str, cpu: dict[str, float], goal: float | None = None) -> Measurement:
    """Return by how many percent the CPU time of a project is larger than without monitoring."""
    value = percent(cpu[name], cpu[NONE])
    return Measurement(name, value, goal, at_least=False, unit=" %", medians=f"{cpu[name]:.1f} µs CPU")


def percent(value: float, base: float) -> float:
    """Return by how many percent a value is larger than another one."""
    return (value / base - 1) * 100
