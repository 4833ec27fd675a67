"""Profile the requests of a route, for `make profile`, `make profile-function` and `make memory`.

The application runs in this process, with the settings of `.env`, but without debug mode and rate
limits. Its log is discarded. A response with an error ends the profile, unless `--status` names it.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
from flask import Flask
from msgspec.structs import replace

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import get_settings, load_settings

# The first requests fill caches, and import modules.
WARM_UP_REQUESTS = 200
PROFILED_REQUESTS = 200
# The first status of an error.
FIRST_ERROR = 400


@click.group()
@click.option("--status", type=int, help="Expect this status instead of one below 400.")
@click.pass_context
def main(context: click.Context, status: int | None) -> None:
    """Request a route repeatedly."""
    context.obj = status


def create_profiled_app() -> Flask:
    """Return an application like that of production, which requests of one thread do not block."""
    settings = load_settings()
    limits = [name for name in settings.__struct_fields__ if name.startswith("RATE_LIMIT")]
    unlimited: dict[str, Any] = dict.fromkeys(limits, "1000000/second")
    return create_app(replace(settings, DEBUG=False, TESTING=True, **unlimited))


def repeat(app: Flask, route: str, is_done: Callable[[int], bool]) -> None:
    """Request a route until `is_done` returns true for the number of requests."""
    client, count, status = app.test_client(), 0, 0
    # A domain with its subdomains begins with a dot, and allows its own name, too.
    site = f"http://{get_settings(app).ALLOWED_HOSTS[0].removeprefix('.')}"
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        while not is_done(count):
            with client.get(route, base_url=site) as response:
                status = response.status_code
                check_status(route, status)
            count += 1
    click.echo(f"{route}: {count} requests, last status {status}", err=True)


def check_status(route: str, status: int) -> None:
    """Raise an error for an unexpected response, whose profile would mislead."""
    expected = click.get_current_context().obj
    if status != expected and (expected or status >= FIRST_ERROR):
        message = f"status {status}; set STATUS={status} to profile such responses"
        raise click.ClickException(f"{route}: {message}")


@main.command()
@click.argument("route")
def check(route: str) -> None:
    """Request ROUTE once, before `flame`: py-spy does not report that its program failed."""
    repeat(create_profiled_app(), route, lambda count: count == 1)


@main.command()
@click.argument("route")
@click.argument("seconds", type=float)
def flame(route: str, seconds: float) -> None:
    """Request ROUTE for SECONDS, under py-spy."""
    app, end = create_profiled_app(), perf_counter() + seconds
    repeat(app, route, lambda _: perf_counter() > end)


@main.command()
@click.argument("route")
@click.argument("function", default="")
def lines(route: str, function: str) -> None:
    """Print the time of each line of the view of ROUTE, or of FUNCTION (package.module.name)."""
    from line_profiler import LineProfiler

    app = create_profiled_app()
    profiler = LineProfiler()
    profiler.add_callable(find_function(function) if function else find_view(app, route))
    repeat(app, route, lambda count: count == 1)
    with profiler:
        repeat(app, route, lambda count: count == PROFILED_REQUESTS)
    profiler.print_stats(output_unit=1e-3, stripzeros=True)


def find_view(app: Flask, route: str) -> Callable[..., Any]:
    """Return the view of a route, without its decorators."""
    with app.test_request_context(route) as context:
        if not context.request.endpoint:
            raise click.UsageError(f"no view has the route {route}")
        view: Callable[..., Any] = unwrap(app.view_functions[context.request.endpoint])
        return view


def find_function(name: str) -> Callable[..., Any]:
    """Return a function of a module, without its decorators."""
    module, _, attribute = name.rpartition(".")
    try:
        function: Callable[..., Any] = unwrap(getattr(import_module(module), attribute))
    except (AttributeError, ImportError, ValueError) as error:
        raise click.UsageError(f"no function has the name {name}: {error}") from error
    return function


@main.command()
@click.argument("route")
@click.argument("requests", type=int)
def memory(route: str, requests: int) -> None:
    """Write memory-peak.html and memory-leaks.html: the memory that REQUESTS of ROUTE allocate."""
    from memray import FileDestination, FileFormat, FileReader, Tracker

    app = create_profiled_app()
    repeat(app, route, lambda count: count == WARM_UP_REQUESTS)
    with TemporaryDirectory() as folder:
        result = f"{folder}/memory.bin"
        # Aggregated: the file contains the peak and the leaks, and not each allocation.
        with Tracker(
            destination=FileDestination(result),
            file_format=FileFormat.AGGREGATED_ALLOCATIONS,
            trace_python_allocators=True,
        ):
            repeat(app, route, lambda count: count == requests)
            gc.collect()
        reader = FileReader(result)
        leaked = sum(one.size for one in reader.get_leaked_allocation_records())
        for name, options in {"peak": [], "leaks": ["--leaks"]}.items():
            write_flame_graph(result, f"memory-{name}.html", *options)
    click.echo(
        f"Peak {reader.metadata.peak_memory / 1024:.0f} kB (memory-peak.html). {leaked / 1024:.0f}"
        f" kB were not freed, {leaked / requests:.0f} bytes a request (memory-leaks.html)."
    )


def write_flame_graph(result: str, output: str, *options: str) -> None:
    """Write a flame graph as an HTML file that needs no network."""
    memray = [str(Path(sys.executable).with_name("memray")), "flamegraph", "--no-web", "--force"]
    subprocess.run(  # noqa: S603 - a program of this environment
        [*memray, *options, "--output", output, result],
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
