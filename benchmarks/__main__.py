"""Measure the template and its project, and write docs/performance.md: in short, or with --long."""

import argparse
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import bake, queries, report, start, web
from benchmarks.bake import TEMPLATE
from benchmarks.figures import Figure
from benchmarks.projects import Project, make_environment
from tests.services import PostgreSQL, Redis

DOCS = TEMPLATE / "docs"
PICTURE = "performance.svg"
PRODUCTS = 100_000
LETTERS = ("a", "b", "e1", "e2", "c1", "c2", "d", "f", "h1", "h2", "i", "g")
# Directly asked, these speak HTTP.
ANSWERS = {
    "gunicorn": {},
    "uwsgi": {"wsgi_server": "uwsgi", "reverse_proxy": "none"},
    "granian": {"wsgi_server": "granian"},
}


def main() -> None:
    """Print and write all figures; a figure is never a failure."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--long", action="store_true", help="more rounds, and more servers: about 15 minutes")
    is_long = parser.parse_args().long
    rounds, seconds = (11, 4) if is_long else (5, 1)
    began, machine = datetime.now(UTC), report.machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        programs = make_environment(folder / "environment")
        projects = {name: Project(folder / name, programs, **answers) for name, answers in ANSWERS.items()}
        database = stack.enter_context(PostgreSQL.for_a_while()).create().url
        servers = web.Servers(database, stack.enter_context(Redis.for_a_while()).url)
        default = projects["gunicorn"]
        default.fill(PRODUCTS, **servers.settings)
        served, settings, bars = web.measure(projects, servers, rounds, seconds, is_long=is_long)
        figures = [
            *served,
            *queries.measure(default, rounds, PRODUCTS, **servers.settings),
            *start.measure(default, rounds, **servers.settings),
            bake_figure(folder, rounds),
        ]
    named = dict(zip(LETTERS, figures, strict=True))
    for letter, one in (named | {f"s{number}": one for number, one in enumerate(settings, 1)}).items():
        print(
            f"{letter:<3}{one.what}: {one.show(one.value)} {one.hoped and f'(goal {one.hoped})'} {one.medians}",
            flush=True,
        )
    text = report.page(
        named,
        settings,
        PICTURE,
        command="make bench" + " ARGS=--long" * is_long,
        when=began.date().isoformat(),
        rounds=rounds,
        seconds=seconds,
        machine=machine,
    )
    (DOCS / PICTURE).write_text(report.draw(bars), encoding="utf-8")
    (DOCS / "performance.md").write_text(text, encoding="utf-8")
    print(f"Written to docs/performance.md, {(datetime.now(UTC) - began).seconds} s.")


def bake_figure(folder: Path, rounds: int) -> Figure:
    """Compare a bake with that of the smallest template."""
    smallest = bake.one_file(folder / "one-file")
    small, ours, ratio = bake.compare(bake.by_command, smallest, folder / "bakes", rounds)
    medians = f"{ours * 1000:.0f} ms / {small * 1000:.0f} ms"
    return Figure("a bake: the default answers / one file", ratio, bake.GOAL, at_least=False, medians=medians)


if __name__ == "__main__":
    main()
