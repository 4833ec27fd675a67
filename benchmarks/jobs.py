"""Measure 1,000 small jobs from end to end with each choice, on private brokers: jobs/s, and how long one waits."""

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

from benchmarks.bake import silence
from tests.conftest import declared
from tests.production import PRODUCTION
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
SPACED = 200  # jobs that are sent one at a time, to workers that have nothing else to do
WORKERS = 2

PROBE = """
import sys
import time
from pathlib import Path

from {package} import create_app
from {package}.tasks import count, job

HERE = Path(__file__).parent


@job()
def small(sent):
    with (HERE / "waits").open("a") as waits:
        waits.write(f"{{time.time() - sent}} {{time.time()}}\\n")


app = create_app()


@app.cli.command()
def measure():
    "Send as many jobs as the first line says, so many seconds apart as the second one does."
    number, pause = int(sys.stdin.readline()), float(sys.stdin.readline())
    started = time.time()
    for _ in range(number):
        small.enqueue(time.time())
        time.sleep(pause)
    print("sent", started, time.time() - started)
"""


def environment(folder: Path) -> Path:
    """An environment with what every choice needs."""
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder]
    subprocess.run([*uv, *install, *declared(PROJECT / "pyproject.toml")], check=True)
    return folder / "bin"


def render(folder: Path, choice: str) -> Path:
    """A project without a database, so that only jobs are measured."""
    answers = {"task_queue": choice, "database": "none", "example_app": False, "web_pages": False}
    with silence():
        project = Path(
            cookiecutter(
                str(TEMPLATE),
                no_input=True,
                default_config=True,
                output_dir=str(folder / choice),
                extra_context=answers,
            )
        )
    (package,) = (project / "src").iterdir()
    (project / "probe.py").write_text(PROBE.format(package=package.name), encoding="utf-8")
    (project / "results").mkdir()
    (project / ".env").unlink()
    return project


@contextmanager
def workers(project: Path, programs: Path, variables: dict[str, str], choice: str) -> Iterator[None]:
    """As many processes that do jobs with each choice; RQ's workers do one job at a time."""
    number = WORKERS if choice == "rq-redis" else 1
    command: list[str | Path] = [programs / "flask", "--app", "probe", "worker"]
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
        for worker in running:
            kill(worker)


def measure(project: Path, programs: Path, variables: dict[str, str], number: int, pause: float) -> list[float]:
    """Send jobs and wait until they are done: the seconds of sending, of all, and what each has waited."""
    waits = project / "waits"
    waits.unlink(missing_ok=True)
    command: list[str | Path] = [programs / "flask", "--app", "probe", "measure"]
    result = subprocess.run(
        command, cwd=project, env=variables, input=f"{number}\n{pause}\n", text=True, capture_output=True, check=True
    )
    _, started, sending = result.stdout.splitlines()[-1].split()
    while not waits.exists() or len(waits.read_text().splitlines()) < number:
        time.sleep(0.1)
    lines = [line.split() for line in waits.read_text().splitlines()]
    whole = max(float(ended) for _, ended in lines) - float(started)
    return [float(sending), whole, *(float(wait) for wait, _ in lines)]


def main() -> None:
    """Print the figures; they are of this machine, so compare them with each other only."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        programs = environment(folder / "environment")
        print(
            f"{JOBS} jobs, {WORKERS} processes     sent/s   jobs/s  p99 of all   a lone job: median     p99   load",
            flush=True,
        )
        for choice, kind in BROKERS.items():
            # The usual choice: at most a second is lost when the machine fails.
            options = ["--appendfsync", "everysec"] if kind is RedisBroker else []
            broker = stack.enter_context(kind.for_a_while(*options))
            project = render(folder, choice)
            variables = {
                **os.environ,
                **PRODUCTION,
                "BROKER_URL": broker.url,
                "RESULT_URL": f"file://{project}/results",
                "WORKER_PROCESSES": str(WORKERS),
                "LOG_LEVEL": "WARNING",
                "PYTHONPATH": f"src{os.pathsep}.",
            }
            with workers(project, programs, variables, choice):
                measure(project, programs, variables, 20, 0)  # all processes have started
                sending, whole, *behind = measure(project, programs, variables, JOBS, 0)
                _, _, *waits = measure(project, programs, variables, SPACED, 0.05)
            figures = f"{JOBS / sending:>9.0f}{JOBS / whole:>9.0f}"
            figures += f"{quantiles(behind, n=100)[-1]:>10.1f} s"
            last = quantiles(waits, n=100)[-1]
            figures += f"{median(waits) * 1000:>21.0f} ms{last * 1000:>6.0f} ms{os.getloadavg()[0]:>6.1f}"
            print(f"{choice:<25}{figures}", flush=True)


if __name__ == "__main__":
    main()
