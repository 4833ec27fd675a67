"""Measure what each cache gives and costs, on a catalog of 100,000 products and real servers."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest

from benchmarks.load import in_turns, ratio
from benchmarks.projects import PACKAGE, Project, make_environment
from benchmarks.web import side
from tests.services import Memcached, PostgreSQL, Redis

INSIDE = Path(__file__).with_name("inside.py")
CACHES = ("redis", "memcached", "filesystem")
MORE = 100_000
ROUNDS = 7
SECONDS = 1
LIST = "/api/v1/products"
GOALS = "Goals: the list 5 times as fast; a hit 60 µs over a trivial view in memory, 130 µs on a server."


def inside(project: Project, result: Path, **settings: str) -> dict[str, list[dict[str, float]]]:
    """Measure in one process, without a server of HTTP."""
    project.run("python", INSIDE, PACKAGE, LIST, str(ROUNDS), result, **settings)
    figures: dict[str, list[dict[str, float]]] = json.loads(result.read_text(encoding="utf-8"))
    return figures


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


def report_served(label: str, project: Project, **settings: str) -> None:
    """Print a line: medians of rounds that take turns, and their ratios."""
    with project.serving({**settings, "CACHE_VIEW_LIFETIME": "3600"}) as (port, session):
        made, kept = side(port, "/made", session), side(port, LIST, session)
        rounds = in_turns({"made": lambda: made.ask(SECONDS), "kept": lambda: kept.ask(SECONDS)}, ROUNDS)
    rates = {name: [one.requests for one in found] for name, found in rounds.items()}
    cpu = ratio([one.cpu for one in rounds["made"]], [one.cpu for one in rounds["kept"]])
    rate = ratio(rates["kept"], rates["made"])
    print(f"{label:<24}{median(rates['made']):>9.0f}{median(rates['kept']):>8.0f}{cpu:>8.1f}{rate:>8.1f}", flush=True)


def main() -> None:
    """Print all figures; a figure is never a failure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        programs = make_environment(folder / "environment")
        projects = {cache: Project(folder / cache, programs, cache=cache, task_queue="none") for cache in CACHES}
        databases = {"SQLite": f"sqlite:///{folder}/catalog.sqlite3"}
        caches = {"filesystem": f"file://{folder}/kept"}
        try:
            databases["PostgreSQL"] = stack.enter_context(PostgreSQL.for_a_while()).create().url
            for server in (Redis, Memcached):
                caches[server.scheme] = stack.enter_context(server.for_a_while()).url
        except pytest.skip.Exception as reason:
            print(reason)
        for database in databases.values():
            projects["redis"].fill(MORE, DATABASE_URL=database)

        print(f"{MORE:,} products; medians of {ROUNDS} rounds that take turns")
        print("\nin one process                µs CPU of a list     times as fast     µs CPU, trivial view")
        print("                         uncached  cached     CPU    time     view  a hit over it")
        result = folder / "figures"
        for database, url in databases.items():
            settings = {"DATABASE_URL": url, "CACHE_URL": "memory://"}
            report_inside(f"{database}, memory", inside(projects["redis"], result, **settings))
            for cache, where in caches.items():
                settings = {"DATABASE_URL": url, "CACHE_URL": where}
                report_inside(f"{database}, {cache}", inside(projects[cache], result, **settings))
        print("\ngunicorn                   lists a second     times as fast")
        print("                         uncached  cached     CPU    time")
        for database, url in databases.items():
            for cache, where in caches.items():
                report_served(f"{database}, {cache}", projects[cache], DATABASE_URL=url, CACHE_URL=where)
        print(GOALS)


if __name__ == "__main__":
    main()
