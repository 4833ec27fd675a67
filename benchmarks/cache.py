"""Measure what the cache gives and costs, on a catalog of 100,000 products and real servers."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import pytest
from cookiecutter.main import cookiecutter

from benchmarks.bake import TEMPLATE, silence
from tests.services import Memcached, PostgreSQL, Redis, fetch, free_port, serving

INSIDE = Path(__file__).with_name("inside.py")
CACHES = ("redis", "memcached", "filesystem")
MORE = 100_000
ROUNDS = 7
CLIENTS = 4
REQUESTS = 100  # of each client, in a round
LIST = "/api/v1/products"
GOALS = "Goals: the list 5 times as fast; a hit 60 µs over a trivial view in memory, 130 µs on a server."

# The application, with a list that is never kept, and its use of the processor.
SERVED = """
import time

from my_service import create_app

app = create_app()
kept = app.view_functions["catalog.list_products"]
app.add_url_rule("/uncached", view_func=kept.__wrapped__)
app.add_url_rule("/cpu", view_func=lambda: str(time.process_time()))
"""


class Figures(NamedTuple):
    """What a round took: the requests of a second, and microseconds of the processor for each."""

    requests: float
    cpu: float


class Project:
    """A render with a cache, in an environment that all share."""

    def __init__(self, folder: Path, programs: Path, cache: str) -> None:
        """Render it."""
        with silence():
            folder = Path(
                cookiecutter(
                    str(TEMPLATE),
                    no_input=True,
                    default_config=True,
                    output_dir=str(folder / cache),
                    extra_context={"cache": cache, "task_queue": "none"},
                )
            )
        (folder / ".env").unlink()
        (folder / "served.py").write_text(SERVED, encoding="utf-8")
        self.folder, self.programs = folder, programs

    def environ(self, **variables: str) -> dict[str, str]:
        """The settings of production, with limits that nothing reaches."""
        limits = {"RATE_LIMIT": "100000000/second", "RATE_LIMIT_WRITES": "100000000/second"}
        required = {"SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4", "ALLOWED_HOSTS": "127.0.0.1"}
        return {**os.environ, **limits, **required, "PYTHONPATH": "src", "CACHE_VIEW_LIFETIME": "3600", **variables}

    def run(self, *words: str | Path, **variables: str) -> None:
        """Run a program of the environment."""
        command = [str(self.programs / words[0]), *map(str, words[1:])]
        subprocess.run(command, check=True, cwd=self.folder, env=self.environ(**variables), stdout=subprocess.DEVNULL)

    def fill(self, database: str) -> None:
        """Make the catalog."""
        flask = ["flask", "--app", "my_service.wsgi"]
        for words in (["db", "upgrade"], ["seed", "--more", str(MORE)]):
            self.run(*flask, *words, DATABASE_URL=database, CACHE_URL="memory://")

    def inside(self, database: str, cache: str, result: Path) -> dict[str, list[dict[str, float]]]:
        """Measure in one process, without a server of HTTP."""
        self.run("python", INSIDE, "my_service", LIST, str(ROUNDS), result, DATABASE_URL=database, CACHE_URL=cache)
        figures: dict[str, list[dict[str, float]]] = json.loads(result.read_text(encoding="utf-8"))
        return figures

    @contextmanager
    def serving(self, database: str, cache: str) -> Iterator[int]:
        """One process of gunicorn, for as long as the block takes; gives its port."""
        port = free_port()
        options = ["--no-control-socket", f"--threads={CLIENTS}", f"--bind=127.0.0.1:{port}"]
        command: list[str | Path] = [self.programs / "gunicorn", *options, "served:app"]
        environ = self.environ(DATABASE_URL=database, CACHE_URL=cache)
        with serving(command, self.folder, environ, f"http://127.0.0.1:{port}/health/live", self.folder / "log"):
            yield port


def make_environment(folder: Path) -> Path:
    """Install what any of the projects depends on; the template's own file lists all, since its tags are comments."""
    data = tomllib.loads((TEMPLATE / "{{cookiecutter.project_slug}}/pyproject.toml").read_text(encoding="utf-8"))
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder]
    subprocess.run([*uv, *install, *data["project"]["dependencies"], "gunicorn==27.0.1"], check=True)
    return folder / "bin"


def ask(port: int, path: str) -> None:
    """Be one client, on one connection, who takes little of the processor himself."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    connection = socket.create_connection(("127.0.0.1", port), 60)
    with connection, connection.makefile("rb") as answer:
        for _ in range(REQUESTS):
            connection.sendall(request)
            head = b"".join(iter(answer.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200"), head
            answer.read(int(head.partition(b"Content-Length: ")[2].split(b"\r")[0]))


def measure(port: int, path: str) -> Figures:
    """Let all clients ask at once."""

    def cpu() -> float:
        return float(fetch(f"http://127.0.0.1:{port}/cpu").text)

    with ThreadPoolExecutor(CLIENTS) as clients:
        used, started = cpu(), perf_counter()
        list(clients.map(ask, [port] * CLIENTS, [path] * CLIENTS))
        took, used = perf_counter() - started, cpu() - used
    number = CLIENTS * REQUESTS
    return Figures(number / took, used / number * 1e6)


def report_inside(label: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print a line: medians of the rounds, and of their ratios and differences."""
    both = zip(rounds["uncached"], rounds["cached"], strict=True)
    faster = [[old[kind] / new[kind] for kind in ("cpu", "wall")] for old, new in both]
    hits = [new["cpu"] - one["cpu"] for new, one in zip(rounds["cached"], rounds["trivial"], strict=True)]
    uncached, cached, trivial = (
        median(one["cpu"] for one in rounds[name]) for name in ("uncached", "cached", "trivial")
    )
    by_cpu, by_wall = (median(ratio) for ratio in zip(*faster, strict=True))
    print(
        f"{label:<24}{uncached:>9.0f}{cached:>8.0f}{by_cpu:>8.1f}{by_wall:>8.1f}{trivial:>9.0f}{median(hits):>+7.0f}",
        flush=True,
    )


def report_served(label: str, port: int) -> None:
    """Print a line: medians of rounds that take turns, and of their ratios."""
    rounds = [(measure(port, "/uncached"), measure(port, LIST)) for _ in range(ROUNDS + 1)][1:]
    uncached, cached = (median(side.requests for side in sides) for sides in zip(*rounds, strict=True))
    by_rate = median(new.requests / old.requests for old, new in rounds)
    by_cpu = median(old.cpu / new.cpu for old, new in rounds)
    print(f"{label:<24}{uncached:>9.0f}{cached:>8.0f}{by_cpu:>8.1f}{by_rate:>8.1f}", flush=True)


def main() -> None:
    """Print all figures; a figure is never a failure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        programs = make_environment(folder / "environment")
        projects = {cache: Project(folder, programs, cache) for cache in CACHES}
        databases = {"SQLite": f"sqlite:///{folder}/catalog.sqlite3"}
        caches = {"filesystem": f"file://{folder}/kept"}
        try:
            databases["PostgreSQL"] = stack.enter_context(PostgreSQL.for_a_while()).create().url
            for server in (Redis, Memcached):
                caches[server.scheme] = stack.enter_context(server.for_a_while()).url
        except pytest.skip.Exception as reason:
            print(reason)
        for database in databases.values():
            projects["redis"].fill(database)

        print(f"{MORE:,} products; medians of {ROUNDS} rounds that take turns")
        print("\nin one process                µs CPU of a list     times as fast     µs CPU, trivial view")
        print("                         uncached  cached     CPU    time     view  a hit over it")
        for database, url in databases.items():
            report_inside(f"{database}, memory", projects["redis"].inside(url, "memory://", folder / "figures"))
            for cache, where in caches.items():
                report_inside(f"{database}, {cache}", projects[cache].inside(url, where, folder / "figures"))
        print(f"\ngunicorn, one process      lists a second     times as fast, for {CLIENTS} clients")
        print("                         uncached  cached     CPU    time")
        for database, url in databases.items():
            for cache, where in caches.items():
                with projects[cache].serving(url, where) as port:
                    report_served(f"{database}, {cache}", port)
        print(GOALS)


if __name__ == "__main__":
    main()
