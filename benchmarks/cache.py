"""Measure the speedup and the overhead of each cache, with 100,000 products and real servers."""

import json
import os
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from benchmarks.measurements import alternate, ratio
from benchmarks.projects import PACKAGE, Project, make_environment
from benchmarks.render_time import TEMPLATE
from benchmarks.web import make_target
from tests.services import Memcached, PostgreSQL, Redis

CACHES = ("redis", "memcached", "filesystem")
PRODUCTS = 100_000
ROUNDS = 7
SECONDS = 1
LIST = "/api/v1/products"
GOALS = "Goals: speedup of the list 5; a hit adds 60 µs to a trivial view in memory, 130 µs on a server."


def measure_in_process(project: Project, result: Path, **settings: str) -> dict[str, list[dict[str, float]]]:
    """Run `benchmarks.in_process` in the project, and return its rounds."""
    path = f"{project.folder / 'src'}{os.pathsep}{TEMPLATE}"
    project.run(
        "python", "-m", "benchmarks.in_process", PACKAGE, LIST, str(ROUNDS), result, **settings, PYTHONPATH=path
    )
    rounds: dict[str, list[dict[str, float]]] = json.loads(result.read_text(encoding="utf-8"))
    return rounds


def report_in_process(label: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print one line with the medians of all rounds, and the medians of the ratios and differences of each round."""
    pairs = zip(rounds["uncached"], rounds["cached"], strict=True)
    speedups = [[uncached[kind] / cached[kind] for kind in ("cpu", "wall")] for uncached, cached in pairs]
    hits = [cached["cpu"] - trivial["cpu"] for cached, trivial in zip(rounds["cached"], rounds["trivial"], strict=True)]
    uncached, cached, trivial = (
        median(one["cpu"] for one in rounds[name]) for name in ("uncached", "cached", "trivial")
    )
    by_cpu, by_wall = (median(ratio) for ratio in zip(*speedups, strict=True))
    print(
        f"{label:<24}{uncached:>9.0f}{cached:>8.0f}{by_cpu:>8.1f}{by_wall:>8.1f}{trivial:>9.0f}{median(hits):>+7.0f}",
        flush=True,
    )


def report_http(label: str, project: Project, **settings: str) -> None:
    """Serve the project, and print one line with the medians of alternating rounds and their ratios."""
    with project.serving({**settings, "CACHE_VIEW_TTL": "3600"}) as (port, session):
        targets = {"uncached": make_target(port, "/uncached", session), "cached": make_target(port, LIST, session)}
        rounds = alternate({name: partial(one.load, SECONDS) for name, one in targets.items()}, ROUNDS)
    rates = {name: [sample.requests for sample in samples] for name, samples in rounds.items()}
    cpu = ratio([sample.cpu for sample in rounds["uncached"]], [sample.cpu for sample in rounds["cached"]])
    rate = ratio(rates["cached"], rates["uncached"])
    uncached, cached = median(rates["uncached"]), median(rates["cached"])
    print(f"{label:<24}{uncached:>9.0f}{cached:>8.0f}{cpu:>8.1f}{rate:>8.1f}", flush=True)


def main() -> None:
    """Print all measurements. A missed goal is not an error."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        programs = make_environment(folder / "environment")
        projects = {cache: Project(folder / cache, programs, cache=cache, task_queue="none") for cache in CACHES}
        databases = {"SQLite": f"sqlite:///{folder}/catalog.sqlite3"}
        caches = {"filesystem": f"file://{folder}/cache"}
        try:
            databases["PostgreSQL"] = stack.enter_context(PostgreSQL.running()).create_database().url
            for server in (Redis, Memcached):
                caches[server.scheme] = stack.enter_context(server.running()).url
        except pytest.skip.Exception as reason:
            print(reason)
        for database in databases.values():
            projects["redis"].seed(PRODUCTS, DATABASE_URL=database)

        print(f"{PRODUCTS:,} products; medians of {ROUNDS} alternating rounds")
        print("\nin one process               µs CPU per list          speedup    µs CPU, trivial view")
        print("                         uncached  cached     CPU    time     view    hit")
        result = folder / "rounds.json"
        for database, url in databases.items():
            settings = {"DATABASE_URL": url, "CACHE_URL": "memory://"}
            report_in_process(f"{database}, memory", measure_in_process(projects["redis"], result, **settings))
            for cache, where in caches.items():
                settings = {"DATABASE_URL": url, "CACHE_URL": where}
                report_in_process(f"{database}, {cache}", measure_in_process(projects[cache], result, **settings))
        print("\ngunicorn                   lists a second          speedup")
        print("                         uncached  cached     CPU    time")
        for database, url in databases.items():
            for cache, where in caches.items():
                report_http(f"{database}, {cache}", projects[cache], DATABASE_URL=url, CACHE_URL=where)
        print(GOALS)


if __name__ == "__main__":
    main()
