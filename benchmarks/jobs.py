"""Measure 1,000 small jobs end to end with each task queue, on private brokers: throughput and latency."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from cookiecutter.main import cookiecutter

from benchmarks.render_time import discard_output
from tests.conftest import declared_dependencies
from tests.deployed_project import PRODUCTION_SETTINGS
from tests.services import Broker, RabbitMQ, RedisBroker
from tests.test_queues import kill

TEMPLATE = Path(__file__).parent.parent
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
BROKERS: dict[str, type[Broker]] = {
    "celery-redis": RedisBroker,
    "celery-rabbitmq": RabbitMQ,
    "rq-redis": RedisBroker,
}
JOBS = 1000
SINGLE_JOBS = 200  # number of jobs that are sent one at a time to idle workers
WORKERS = 2

JOBS_MODULE = """
import time
from pathlib import Path

{imports}

FOLDER = Path(__file__).parent


{decorator}
def record_latency(sent):
    with (FOLDER / "latencies").open("a") as latencies:
        latencies.write(f"{{time.time() - sent}} {{time.time()}}\\n")
"""

PROBE = """
import sys
import time

from {package} import create_app
from probe_jobs import record_latency

app = create_app()


@app.cli.command()
def measure():
    "Read the number of jobs and the pause in seconds from two lines of stdin, and send the jobs."
    number, pause = int(sys.stdin.readline()), float(sys.stdin.readline())
    started = time.time()
    for _ in range(number):
        record_latency.delay(time.time())
        time.sleep(pause)
    print("sent", started, time.time() - started)
"""


def create_environment(folder: Path) -> Path:
    """Create an environment with the dependencies of every task queue."""
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder]
    subprocess.run([*uv, *install, *declared_dependencies(PROJECT / "pyproject.toml")], check=True)
    return folder / "bin"


def render(folder: Path, task_queue: str) -> Path:
    """Render a project without a database, so that only jobs are measured."""
    answers = {"task_queue": task_queue, "database": "none", "auth": "none", "example_app": False, "web_pages": False}
    with discard_output():
        project = Path(
            cookiecutter(
                str(TEMPLATE),
                no_input=True,
                default_config=True,
                output_dir=str(folder / task_queue),
                extra_context=answers,
            )
        )
    (package,) = (project / "src").iterdir()
    is_rq = task_queue == "rq-redis"
    placeholders = {
        "package": package.name,
        "imports": f"from {package.name}.core.tasks import job" if is_rq else "from celery import shared_task",
        "decorator": "@job()" if is_rq else "@shared_task",
    }
    for name, text in (("probe.py", PROBE), ("probe_jobs.py", JOBS_MODULE)):
        (project / name).write_text(text.format(**placeholders), encoding="utf-8")
    (project / "results").mkdir()
    (project / ".env").unlink()
    return project


@contextmanager
def running_workers(project: Path, programs: Path, variables: dict[str, str], task_queue: str) -> Iterator[None]:
    """Start workers with `WORKERS` processes in total. An RQ worker has one process."""
    number = WORKERS if task_queue == "rq-redis" else 1
    (package,) = (path.name for path in (project / "src").iterdir())
    worker = f"{package}.worker"
    command: list[str | Path] = [programs / "celery", "--quiet", "-A", worker, "worker", "-I", "probe_jobs"]
    if task_queue == "rq-redis":
        command = [programs / "rq", "worker", "--config", worker, "--worker-class", f"{worker}.Worker"]
    running = [
        subprocess.Popen(
            command,
            cwd=project,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in running:
            kill(process)


def measure(project: Path, programs: Path, variables: dict[str, str], number: int, pause: float) -> list[float]:
    """Send jobs and wait until all have run.

    Return the duration of sending, the total duration, and then the latency of each job, in seconds.
    """
    latencies = project / "latencies"
    latencies.unlink(missing_ok=True)
    command: list[str | Path] = [programs / "flask", "--app", "probe", "measure"]
    result = subprocess.run(
        command, cwd=project, env=variables, input=f"{number}\n{pause}\n", text=True, capture_output=True, check=True
    )
    _, started, sending = result.stdout.splitlines()[-1].split()
    while not latencies.exists() or len(latencies.read_text().splitlines()) < number:
        time.sleep(0.1)
    lines = [line.split() for line in latencies.read_text().splitlines()]
    total = max(float(ended) for _, ended in lines) - float(started)
    return [float(sending), total, *(float(latency) for latency, _ in lines)]


def main() -> None:
    """Print the measurements. They depend on the machine, so compare only those of one run."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        programs = create_environment(folder / "environment")
        print(
            f"{JOBS} jobs, {WORKERS} processes     sent/s   jobs/s  p99 of all   single job: median     p99   load",
            flush=True,
        )
        for task_queue, kind in BROKERS.items():
            # The usual setting: a power failure loses at most one second of writes.
            options = ["--appendfsync", "everysec"] if kind is RedisBroker else []
            broker = stack.enter_context(kind.running(*options))
            project = render(folder, task_queue)
            variables = {
                **os.environ,
                **PRODUCTION_SETTINGS,
                "BROKER_URL": broker.url,
                "RESULT_URL": f"file://{project}/results",
                "WORKER_CONCURRENCY": str(WORKERS),
                "LOG_LEVEL": "WARNING",
                "PYTHONPATH": f"src{os.pathsep}.",
            }
            with running_workers(project, programs, variables, task_queue):
                measure(project, programs, variables, 20, 0)  # warm-up: start all processes
                sending, total, *queued = measure(project, programs, variables, JOBS, 0)
                _, _, *single = measure(project, programs, variables, SINGLE_JOBS, 0.05)
            line = f"{task_queue:<25}{JOBS / sending:>9.0f}{JOBS / total:>9.0f}"
            line += f"{quantiles(queued, n=100)[-1]:>10.1f} s"
            p99 = quantiles(single, n=100)[-1]
            line += f"{median(single) * 1000:>21.0f} ms{p99 * 1000:>6.0f} ms{os.getloadavg()[0]:>6.1f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
