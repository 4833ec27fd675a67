"""Markdown page with the measurements, and its chart."""

import html
import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks.authentication import Authentication
from benchmarks.measurements import Bar, Measurement
from benchmarks.monitored import REQUESTS
from benchmarks.monitoring import STARTS, Cost

# Pixels: height of a bar with its margin, width of the chart, width of the labels, length of the longest bar.
ROW_HEIGHT, CHART_WIDTH, LABEL_WIDTH, MAX_BAR_LENGTH = 24, 760, 290, 330
HEAD = """# Performance

`{command}` wrote this page, {when}: {rounds} rounds of {seconds} s per target, alternating within one run, after a
warm-up round. Ratios are ratios of medians. Each response is compared with the expected response. Servers and clients
share one machine and use the loopback interface, so compare CPU time per request rather than requests per second.

{machine}

| | measurement | result | goal | medians |
|---|---|---|---|---|
"""
TAIL = """
![Requests per second]({picture})
{measured_elsewhere}
"The project" has the default answers except for `auth=none`, and all its work per request: request ID, log line,
security headers, host check, session, rate limits, body checks. "Flask alone" is one route on the same server with the
same settings; "gunicorn with its defaults" has no threads. "WSGI alone" is a function that returns bytes. All return
the same JSON from one process, because several processes without a proxy get unequal numbers of connections. Behind
nginx there are two processes.
[The decisions](decisions/README.md) explain the missed goals and give the size of the image, which `make test` builds.

## Effect of settings

The project on gunicorn, with one setting changed.

| setting | ratio | medians |
|---|---|---|
{settings}{authentication}{monitoring}"""
AUTHENTICATION = """
## Authentication

Requests to a project with `auth=accounts` and to one with `auth=none`, alternating in one process, on PostgreSQL.
Passwords are hashed as in production.

| measurement | result | goal | medians |
|---|---|---|---|
{measurements}
Import of the application and `create_app()`, with the peak memory of the process, for each value of `auth`:

| `auth` | modules | CPU | memory | packages that `none` does not import |
|---|---|---|---|---|
{imports}"""
MONITORING = """
## Monitoring

A request for small JSON to projects with these values of `monitoring` and `error_tracking`, in percent more CPU time
than without both: with gunicorn, and inside of a process without a server, where the projects alternate in {starts}
processes with {rounds} rounds of {requests:,} requests. Instructions are those without a server. Memory is that of the
process (RSS) and of an additional worker (PSS). Exports go to a receiver on the same machine.

| | with gunicorn | goal | median | without server | median | instructions | process | worker |
|---|---|---|---|---|---|---|---|---|
{costs}"""


def describe_machine() -> str:
    """Return a sentence about the machine, its software and its load."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    programs = [f"Python {platform.python_version()}", *filter(None, map(program_version, VERSION_COMMANDS))]
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs ({cpu}), {release}, {', '.join(programs)}; load at the start: {load:.1f}."


VERSION_COMMANDS = {
    "nginx": ["nginx", "-v"],
    "PostgreSQL": ["pg_config", "--version"],
    "Redis": ["redis-server", "--version"],
}


def program_version(name: str) -> str:
    """Return the name and version of a program, or an empty string if it is not installed."""
    try:
        result = subprocess.run(VERSION_COMMANDS[name], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    found = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
    return f"{name} {found[0]}" if found else ""


def find_measured_elsewhere(page: str) -> str:
    """Return the text below the chart of a page: results of other benchmarks, which people write and a run keeps."""
    found = re.search(r'(?s)\n!\[Requests per second\][^\n]*\n(.*?)\n"The project"', page)
    return found[1] if found else ""


def render_page(
    measurements: dict[str, Measurement],
    settings: list[Measurement],
    authentication: Authentication,
    costs: list[Cost],
    picture: str,
    former_page: str,
    rounds: int,
    **run: object,
) -> str:
    """Return the page as Markdown."""
    goals = "".join(
        f"| {name} {table_cells(one)} {one.goal_text} | {one.medians} |\n" for name, one in measurements.items()
    )
    effects = "".join(f"{table_cells(one)} {one.medians} |\n" for one in settings)
    tail = TAIL.format(
        picture=picture,
        measured_elsewhere=find_measured_elsewhere(former_page),
        settings=effects,
        authentication=render_authentication(authentication),
        monitoring=render_monitoring(costs, rounds),
    )
    return HEAD.format(rounds=rounds, **run) + goals + tail


def render_authentication(found: Authentication) -> str:
    """Return the chapter about authentication."""
    measurements = "".join(f"{table_cells(one)} {one.goal_text} | {one.medians} |\n" for one in found.measurements)
    imports = "".join(
        f"| `{value}` | {modules:,} | {milliseconds:.0f} ms | {megabytes:.0f} MB | {', '.join(packages)} |\n"
        for value, modules, milliseconds, megabytes, packages in found.imports
    )
    return AUTHENTICATION.format(measurements=measurements, imports=imports)


def render_monitoring(costs: list[Cost], rounds: int) -> str:
    """Return the chapter about monitoring."""
    rows = "".join(
        f"{table_cells(one)} {one.goal_text} | {one.medians} | {inside.format(inside.value)} | {inside.medians} "
        f"| {cost.instructions:+.1f} % | {cost.process:.0f} MB | {cost.worker:.1f} MB |\n"
        for cost in costs
        for one, inside in [(cost.measurement, cost.in_process)]
    )
    return MONITORING.format(costs=rows, requests=REQUESTS, rounds=rounds, starts=STARTS)


def table_cells(one: Measurement) -> str:
    """Return the first cells of a table row."""
    return f"| {one.title} | {one.format(one.value)}{'' if one.is_reached else ', missed'} |"


def draw_chart(bars: list[Bar]) -> str:
    """Return a bar chart as SVG, readable on dark and on light pages."""
    longest = max(bar.length for bar in bars)
    parts = []
    for number, bar in enumerate(bars):
        top = number * ROW_HEIGHT + 10
        length = max(1, round(bar.length / longest * MAX_BAR_LENGTH))
        fill = "#2f81f7" if bar.is_ours else "#8c959f"
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{top + 14}" text-anchor="end">{html.escape(bar.label)}</text>'
            f'<rect x="{LABEL_WIDTH}" y="{top + 3}" width="{length}" height="15" fill="{fill}"/>'
            f'<text x="{LABEL_WIDTH + length + 6}" y="{top + 14}">{bar.length:,.0f}/s · {html.escape(bar.note)}</text>'
        )
    height = len(bars) * ROW_HEIGHT + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {CHART_WIDTH} {height}" '
        'role="img" aria-label="Requests per second" '
        'font-family="system-ui,sans-serif" font-size="12" fill="#57606a">\n' + "\n".join(parts) + "\n</svg>\n"
    )
