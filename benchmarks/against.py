"""Compare projects of this template with those of an earlier revision: `make bench AGAINST=v0.2.0`.

Arguments: REVISION [KEY ...]. Both sides alternate within one run. The projects have no authentication and no
monitoring, as those of version 0.2.0, except for the default projects of f.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import first_minutes, render_time, startup
from benchmarks.load import Sample, Target
from benchmarks.measurements import Measurement, alternate, ratio
from benchmarks.projects import PACKAGE, Project, make_environment
from benchmarks.render_time import TEMPLATE
from benchmarks.web import make_target, summarize
from tests.matrix import PROJECT
from tests.proxies import Nginx, private_folder, send_request
from tests.services import PostgreSQL, Redis, free_port, stop, wait_until

ROUNDS, SECONDS = 7, 2
FIRST_MINUTES_ROUNDS = 5
NOW, THEN = "now", "then"
DEFAULT = "default answers"
# Answers of version 0.2.0; it ignores the other questions.
ANSWERS = {"auth": "none", "monitoring": "none"}
# Names of settings in version 0.2.0.
FORMER_SETTINGS = {"MAIL_FROM": "service@example.com"}
PRODUCTS = 1000
LIST = "/uncached?limit=20"
# More requests than threads; and so few slow ones that none is rejected.
CONNECTIONS = {"/wait": 64, LIST: 8}
DATABASE = "import psycopg, sqlalchemy.orm, sqlalchemy.dialects.postgresql.psycopg; " + startup.BARE


class Sides(NamedTuple):
    """The folder of the benchmark, the templates, their programs, projects and settings, by side."""

    folder: Path
    templates: dict[str, Path]
    programs: dict[str, Path]
    projects: dict[str, Project]
    settings: dict[str, dict[str, str]]


def check_out(revision: str, folder: Path) -> Path:
    """Write the files of a git revision to a folder."""
    git = ["git", "-C", str(TEMPLATE)]
    found = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if found.returncode:
        sys.exit(f'AGAINST: expected a git revision of the template, got "{revision}": try git fetch --tags')
    archive = subprocess.run([*git, "archive", found.stdout.strip()], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def create_sides(stack: ExitStack, folder: Path, former: Path) -> Sides:
    """Render both projects, and create their databases."""
    templates = {NOW: TEMPLATE, THEN: former}
    programs = {
        side: make_environment(folder / f"{side}-env", template / PROJECT.name) for side, template in templates.items()
    }
    projects = {
        side: Project(folder / side, programs[side], template=template, **ANSWERS)
        for side, template in templates.items()
    }
    projects[DEFAULT] = Project(folder / "default", programs[NOW], auth="accounts")
    server, redis = stack.enter_context(PostgreSQL.running()), stack.enter_context(Redis.running())
    settings = {}
    for number, (side, project) in enumerate(projects.items()):
        settings[side] = {
            "DATABASE_URL": server.create_database().url,
            "CACHE_URL": f"{redis.url.rpartition('/')[0]}/{number}",
            **(FORMER_SETTINGS if side == THEN else {}),
        }
        seed(project, **settings[side])
    return Sides(folder, templates, programs, projects, settings)


def seed(project: Project, **settings: str) -> None:
    """Create the tables and the products. Version 0.2.0 has other commands."""
    flask = ["flask", "--app", f"{PACKAGE}.wsgi"]
    is_former = "--more" in project.run(*flask, "seed", "--help", **settings)
    project.run(*([*flask, "db", "upgrade"] if is_former else ["alembic", "upgrade", "head"]), **settings)
    project.run(*flask, "seed", "--more" if is_former else "--extra", str(PRODUCTS), **settings)


@contextmanager
def serving_behind_nginx(project: Project, configuration: Project, **settings: str) -> Iterator[tuple[int, int, int]]:
    """Serve a project; yield the port of nginx and the session IDs of nginx and of the server."""
    with private_folder() as folder:
        port = free_port()
        nginx = Nginx(configuration.folder, folder, f"127.0.0.1:{port}")
        environ = project.environ(**settings, BIND=f"127.0.0.1:{port}", TRUSTED_PROXY_HOPS="1")
        program, *arguments = project.command
        with nginx.running() as proxy, (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [project.programs / program, *arguments],
                cwd=project.folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                wait_until(lambda: send_request(nginx.http, "/small").status == 200, process)
                yield nginx.http, proxy.pid, process.pid
            finally:
                stop(process, signal.SIGINT)


def measure_gunicorn(sides: Sides) -> list[Measurement]:
    """Compare the default gunicorn behind nginx, whose configuration is the same for all.

    Beside both sides runs the project with the default answers.
    """
    now = sides.projects[NOW]
    variants = {
        NOW: (now, sides.settings[NOW]),
        THEN: (sides.projects[THEN], sides.settings[THEN]),
        DEFAULT: (sides.projects[DEFAULT], sides.settings[DEFAULT]),
    }
    with ExitStack() as stack:
        targets: dict[str, Target] = {}
        sessions: dict[str, int] = {}
        for name, (project, settings) in variants.items():
            port, *ids = stack.enter_context(serving_behind_nginx(project, now, **settings))
            sessions[name] = ids[-1]
            for path in ("/wait", "/small", LIST):
                # A request with a cookie bypasses the cache of nginx.
                targets[f"{name} {path}"] = make_target(port, path, *ids, Cookie="theme=dark")
            for path, connections in CONNECTIONS.items():
                targets[f"{name} {path}"] = targets[f"{name} {path}"]._replace(connections=connections)
        # Last, since requests after those that wait were slower.
        waits = {name: target for name, target in targets.items() if name.endswith("/wait")}
        samples = load({name: target for name, target in targets.items() if name not in waits}) | load(waits)
        memory = {name: [session_memory(session)] for name, session in sessions.items()}
    p99 = {name: [one.p99 for one in samples[f"{name} /small"]] for name in variants}
    paths = {"/wait": ("a view that waits 20 ms", 3), "/small": ("small JSON", 0.95), LIST: ("the product list", 1)}
    return [
        measurement
        for name in (NOW, DEFAULT)
        for measurement in (
            *(
                compare_rates(f"b   {name}: {title}", samples, f"{name} {path}", f"{THEN} {path}", goal)
                for path, (title, goal) in paths.items()
            ),
            less(f"b   {name}: p99 of small JSON", [p99[name], p99[THEN]], 2, " ms"),
            less(f"b   {name}: memory of all processes (PSS)", [memory[name], memory[THEN]], 1.2, " MB"),
        )
    ]


def measure_servers(sides: Sides) -> list[Measurement]:
    """Compare granian and uWSGI with gunicorn, all with their defaults and behind nginx."""
    with ExitStack() as stack:
        targets = {}
        for server in ("gunicorn", "granian", "uwsgi"):
            project = Project(sides.folder / server, sides.programs[NOW], wsgi_server=server, **ANSWERS)
            served = stack.enter_context(serving_behind_nginx(project, project, **sides.settings[NOW]))
            targets[server] = make_target(served[0], "/small", *served[1:])
        samples = load(targets)
    return [
        compare_rates(f"b2  small JSON: {server} / gunicorn", samples, server, "gunicorn", 2)
        for server in ("granian", "uwsgi")
    ]


def measure_list(sides: Sides) -> list[Measurement]:
    """Compare the uncached list of 20 products, in one process without a server."""

    def run(side: str) -> dict[str, float]:
        project, result = sides.projects[side], sides.folder / f"{side}.json"
        path = f"{project.folder / 'src'}{os.pathsep}{TEMPLATE}"
        module = ["python", "-m", "benchmarks.in_process", PACKAGE, "/api/v1/products", "1", str(result)]
        project.run(*module, **sides.settings[side], PYTHONPATH=path)
        found: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))["uncached"][0]
        return found

    samples = alternate({side: partial(run, side) for side in (NOW, THEN)}, ROUNDS).values()
    return [
        less(
            f"c   uncached list on PostgreSQL, {kind}", [[one[kind] for one in found] for found in samples], 0.5, " µs"
        )
        for kind in ("cpu", "wall")
    ]


def measure_import(sides: Sides) -> list[Measurement]:
    """Compare the CPU time of the import and of `create_app()`."""
    projects = {side: sides.projects[side].with_own_packages(sides.folder / f"{side}-own") for side in (NOW, THEN)}

    def seconds(side: str, statements: str) -> float:
        command = ("python", "-c", startup.TIMER.format(statements))
        return float(projects[side].run(*command, **sides.settings[side]).splitlines()[-1])

    targets = {side: partial(seconds, side, startup.OURS) for side in (NOW, THEN)}
    targets |= {"Flask": partial(seconds, NOW, startup.BARE), "libraries": partial(seconds, NOW, DATABASE)}
    cpu = {name: [one * 1000 for one in found] for name, found in alternate(targets, ROUNDS).items()}
    return [
        less("d   import and create_app(), CPU", [cpu[NOW], cpu[THEN]], None, " ms"),
        less("d   import and create_app(), CPU: now / bare Flask", [cpu[NOW], cpu["Flask"]], 4.2, " ms"),
        less("d   the same: now / Flask, SQLAlchemy and psycopg", [cpu[NOW], cpu["libraries"]], 1.25, " ms"),
    ]


def measure_render(sides: Sides) -> list[Measurement]:
    """Compare the CPU time of renders with the default answers."""

    def run(side: str) -> float:
        with tempfile.TemporaryDirectory() as output:
            render = partial(render_time.render_with_command, sides.templates[side], Path(output))
            return first_minutes.time_children(render).cpu * 1000

    cpu = alternate({side: partial(run, side) for side in (NOW, THEN)}, ROUNDS)
    return [less("e   render, CPU", [cpu[NOW], cpu[THEN]], 0.8, " ms")]


def measure_first_minutes(sides: Sides) -> list[Measurement]:
    """Compare the first commands in a project with the default answers."""
    renders = {}
    for side, template in sides.templates.items():
        output = sides.folder / f"{side}-default"
        render_time.render_with_command(template, output)
        (renders[side],) = output.iterdir()
    work = sides.folder / "first-minutes"
    targets = {side: partial(first_minutes.measure, render, work) for side, render in renders.items()}
    samples = alternate(targets, FIRST_MINUTES_ROUNDS).values()
    # The goals of issue 19 in seconds, divided by the seconds of version 0.2.0.
    goals = dict(zip(first_minutes.COMMANDS, (0.63, 0.35, 0.57), strict=True))
    return [
        less(
            f"f   {command}, {kind}",
            [[getattr(one[command], kind) for one in found] for found in samples],
            goals[command],
            " s",
        )
        for command in first_minutes.COMMANDS
        for kind in ("cpu", "wall")
    ]


def load(targets: dict[str, Target]) -> dict[str, list[Sample]]:
    """Load all targets in alternation."""
    return alternate({name: partial(target.load, SECONDS) for name, target in targets.items()}, ROUNDS)


def session_memory(session: int) -> float:
    """Return the memory of a server in megabytes."""
    return sum(map(startup.proportional_set_size, startup.process_ids(session))) / startup.MEGABYTE


def compare_rates(title: str, samples: dict[str, list[Sample]], first: str, second: str, goal: float) -> Measurement:
    """Compare requests per second."""
    rates = [[one.requests for one in samples[name]] for name in (first, second)]
    by_cpu = ratio(*([one.cpu for one in samples[name]] for name in (second, first)))
    medians = " / ".join(summarize(samples[name]) for name in (first, second))
    return Measurement(title, ratio(*rates), goal, medians=f"by CPU {by_cpu:.2f}; {medians}")


def less(title: str, pair: Sequence[Sequence[float]], goal: float | None, unit: str) -> Measurement:
    """Compare something of which less is better."""
    medians = " / ".join(f"{median(one):,.1f}{unit}" for one in pair)
    return Measurement(title, ratio(*pair), goal, at_least=False, medians=medians)


MEASURE: dict[str, Callable[[Sides], list[Measurement]]] = {
    "b": measure_gunicorn,
    "b2": measure_servers,
    "c": measure_list,
    "d": measure_import,
    "e": measure_render,
    "f": measure_first_minutes,
}


def main(revision: str, *keys: str) -> None:
    """Print the ratios; a missed goal is not an error."""
    # Programs store the bytecode of modules, as in production.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        sides = create_sides(stack, folder, check_out(revision, folder / "template"))
        print(f"This template / {revision}, medians of alternating rounds; load {os.getloadavg()[0]:.1f}", flush=True)
        for key in keys or MEASURE:
            for one in MEASURE[key](sides):
                missed = "" if one.is_reached else ", missed"
                print(f"{one.title:<52}{one.value:>6.2f}  {one.goal_text}{missed}  {one.medians}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
