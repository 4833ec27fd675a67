"""Measure the template and its project, and write docs/performance.md."""

import argparse
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import authentication, monitoring, queries, render_time, report, startup, web
from benchmarks.measurements import Measurement
from benchmarks.projects import Project, make_environment
from benchmarks.render_time import TEMPLATE
from tests.services import PostgreSQL, Redis

DOCS = TEMPLATE / "docs"
PICTURE = "performance.svg"
PRODUCTS = 100_000
# Keys of the measurements in the table of docs/performance.md.
KEYS = ("a", "b", "e1", "e2", "c1", "c2", "d", "f", "h1", "h2", "i", "g")
# These servers speak HTTP without a reverse proxy.
PROJECTS = {
    "gunicorn": {},
    "uwsgi": {"wsgi_server": "uwsgi", "reverse_proxy": "none"},
    "granian": {"wsgi_server": "granian"},
}


def main() -> None:
    """Print and write all measurements; a missed goal is not an error."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--long", action="store_true", help="more rounds, and more servers: about 15 minutes")
    is_long = parser.parse_args().long
    rounds, seconds = (11, 4) if is_long else (5, 1)
    began, machine = datetime.now(UTC), report.describe_machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        programs = make_environment(folder / "environment")
        projects = {name: Project(folder / name, programs, **answers) for name, answers in PROJECTS.items()}
        postgresql = stack.enter_context(PostgreSQL.running())
        database = postgresql.create_database().url
        servers = web.Servers(database, stack.enter_context(Redis.running()).url)
        auth = authentication.measure(folder, programs, rounds, postgresql, **servers.settings)
        default = projects["gunicorn"]
        default.seed(PRODUCTS, **servers.settings)
        costs = monitoring.measure(folder, programs, rounds, seconds, **servers.settings)
        responses, settings, bars = web.measure(projects, servers, rounds, seconds, is_long=is_long)
        measurements = [
            *responses,
            *queries.measure(default, rounds, PRODUCTS, **servers.settings),
            *startup.measure(default.with_own_packages(folder / "own"), rounds, **servers.settings),
            measure_render_time(folder, rounds),
        ]
    results = dict(zip(KEYS, measurements, strict=True))
    numbered = {
        f"{kind}{number}": one
        for kind, some in (
            ("s", settings),
            ("auth", auth.measurements),
            ("mon", [cost.measurement for cost in costs]),
        )
        for number, one in enumerate(some, 1)
    }
    for key, one in (results | numbered).items():
        goal = one.goal_text and f"(goal {one.goal_text})"
        print(f"{key:<6}{one.title}: {one.format(one.value)} {goal} {one.medians}", flush=True)
    page = DOCS / "performance.md"
    text = report.render_page(
        results,
        settings,
        auth,
        costs,
        PICTURE,
        page.read_text(encoding="utf-8"),
        command="make bench" + " ARGS=--long" * is_long,
        when=began.date().isoformat(),
        rounds=rounds,
        seconds=seconds,
        machine=machine,
    )
    (DOCS / PICTURE).write_text(report.draw_chart(bars), encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    print(f"Written to docs/performance.md, {(datetime.now(UTC) - began).seconds} s.")


def measure_render_time(folder: Path, rounds: int) -> Measurement:
    """Compare the render time of this template with that of a template of one file."""
    smallest_template = render_time.create_one_file_template(folder / "one-file")
    smallest, default, ratio = render_time.compare(
        render_time.render_with_command, smallest_template, folder / "renders", rounds
    )
    medians = f"{default * 1000:.0f} ms / {smallest * 1000:.0f} ms"
    title = "render time: the default answers / a template of one file"
    return Measurement(title, ratio, render_time.GOAL, at_least=False, medians=medians)


if __name__ == "__main__":
    main()
