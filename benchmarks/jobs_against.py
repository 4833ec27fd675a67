"""Compare 1,000 small jobs with those of version 0.2.0, in alternation, on private brokers: Celery and RQ on Redis."""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import jobs
from benchmarks.jobs import JOBS, PROJECT, WORKERS
from benchmarks.load import TICKS_PER_SECOND
from benchmarks.projects import make_environment
from tests.deployed_project import PRODUCTION_SETTINGS
from tests.services import RedisBroker, descendants
from tests.test_queues import kill
from tests.test_upgrade import ARCHIVE

ROUNDS = 5
QUEUES = ["celery-redis", "rq-redis"]

OLD_RENDER = """
import sys

from cookiecutter.main import cookiecutter

template, folder, queue = sys.argv[1:]
answers = {"task_queue": queue, "database": "none", "example_app": False, "web_pages": False}
cookiecutter(template, no_input=True, default_config=True, output_dir=folder, extra_context=answers)
"""


class Times(NamedTuple):
    """Seconds for all jobs: until they are sent and done, and CPU time of the sender and of the workers."""

    sent: float
    done: float
    sender: float
    workers: float


@dataclass(frozen=True)
class Target:
    """A project of one version with one queue."""

    project: Path
    programs: Path
    queue: str
    is_old: bool
    variables: dict[str, str]

    @contextmanager
    def running_workers(self) -> Iterator[list[int]]:
        """Start as many workers as have `WORKERS` processes; yield the IDs of their main processes."""
        number = WORKERS if self.queue == "rq-redis" else 1
        (package,) = (path.name for path in (self.project / "src").iterdir())
        worker = f"{package}.worker"
        command: list[str | Path] = [self.programs / "celery", "--quiet", "-A", worker, "worker", "-I", "probe_jobs"]
        if self.is_old:
            command = [self.programs / "flask", "--app", "probe", "worker"]
        elif self.queue == "rq-redis":
            command = [self.programs / "rq", "worker", "--config", worker, "--worker-class", f"{worker}.Worker"]
        with (self.project / "worker.log").open("wb") as log, ExitStack() as stack:
            processes = []
            for _ in range(number):
                process = subprocess.Popen(
                    command, cwd=self.project, env=self.variables, stdout=log, stderr=log, start_new_session=True
                )
                stack.callback(kill, process)
                processes.append(process.pid)
            yield processes

    def send(self, number: int) -> tuple[float, float, float]:
        """Send jobs and wait until all have run; return the seconds of sending, of both, and the sender's CPU time."""
        before = os.times()
        sending, total, *_ = jobs.measure(self.project, self.programs, self.variables, number, 0)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return sending, total, used

    def measure(self) -> Times:
        """Run one round with new workers."""
        with self.running_workers() as processes:
            # The second one starts the program only.
            self.send(20)
            *_, start = self.send(1)
            before = sum(map(cpu_seconds, processes))
            sent, done, sender = self.send(JOBS)
            return Times(sent, done, sender - start, sum(map(cpu_seconds, processes)) - before)


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, of its descendants and of those that have ended."""
    ticks = 0
    for number in [process, *descendants(process)]:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def render_old(template: Path, folder: Path, queue: str) -> Path:
    """Render version 0.2.0 in a process of its own: its template extensions have the names of today's."""
    command: list[str | Path] = [sys.executable, "-c", OLD_RENDER, template, folder / queue, queue]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (project,) = (folder / queue).iterdir()
    (package,) = (project / "src").iterdir()
    placeholders = {
        "package": package.name,
        "imports": f"from {package.name}.tasks import job",
        "decorator": "@job()",
    }
    for name, text in (("probe.py", jobs.PROBE), ("probe_jobs.py", jobs.JOBS_MODULE)):
        content = text.format(**placeholders).replace(".delay(", ".enqueue(")
        (project / name).write_text(content, encoding="utf-8")
    (project / "results").mkdir()
    (project / ".env").unlink()
    return project


def create_target(project: Path, programs: Path, queue: str, *, is_old: bool, url: str) -> Target:
    """Return a target with the settings of both versions."""
    variables = {
        **os.environ,
        **PRODUCTION_SETTINGS,
        "MAIL_FROM": PRODUCTION_SETTINGS["MAIL_DEFAULT_SENDER"],
        "BROKER_URL": url,
        "RESULT_URL": f"file://{project}/results",
        "WORKER_CONCURRENCY": str(WORKERS),
        "WORKER_PROCESSES": str(WORKERS),
        "LOG_LEVEL": "WARNING",
        "PYTHONPATH": f"src{os.pathsep}.",
    }
    return Target(project, programs, queue, is_old, variables)


def main() -> None:
    """Print the ratios of medians. On a busy machine those of CPU time are the most reliable."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder / "template", filter="data")
        old_programs = make_environment(folder / "old-environment", folder / "template" / PROJECT.name)
        programs = make_environment(folder / "environment")
        targets: dict[str, list[Target]] = {}
        for queue in QUEUES:
            # The usual setting: a power failure loses at most one second of writes.
            urls = [stack.enter_context(RedisBroker.running("--appendfsync", "everysec")).url for _ in range(2)]
            now = jobs.render(folder / "now", queue)
            old = render_old(folder / "template", folder / "old", queue)
            targets[queue] = [
                create_target(now, programs, queue, is_old=False, url=urls[0]),
                create_target(old, old_programs, queue, is_old=True, url=urls[1]),
            ]
        found: dict[str, list[list[Times]]] = {queue: [[], []] for queue in QUEUES}
        for _ in range(ROUNDS):
            for queue in QUEUES:
                for times, target in zip(found[queue], targets[queue], strict=True):
                    times.append(target.measure())
                    print(queue, "0.2.0" if target.is_old else "now", *map("{:.2f}".format, times[-1]), flush=True)
        for queue, both in found.items():
            now_medians, old_medians = (Times(*map(median, zip(*times, strict=True))) for times in both)
            for field, label in (("sent", "jobs sent"), ("done", "jobs done")):
                new, old_one = getattr(now_medians, field), getattr(old_medians, field)
                print(f"{queue}: {label} per second: {old_one / new:.2f}: {JOBS / new:.0f} / {JOBS / old_one:.0f}")
            for field, label in (("sender", "CPU time of the sender"), ("workers", "CPU time of the workers")):
                new, old_one = getattr(now_medians, field), getattr(old_medians, field)
                print(f"{queue}: {label} per job: {new / old_one:.2f}: {new:.2f} ms / {old_one:.2f} ms")


if __name__ == "__main__":
    main()
