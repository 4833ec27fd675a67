"""What was measured, as a page and as a picture."""

import html
import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks.figures import Bar, Figure

ROW, WIDTH, LABELS, LENGTH = 24, 760, 290, 330
HEAD = """# Performance

Written by `{command}`, {when}: {rounds} rounds of {seconds} s for each side, which take turns within one run, after
one that warms up. Every ratio is one of medians. Every answer is compared with the one that is expected. All that is
asked and all who ask share one machine, on loopback: a number of requests says little by itself, the processor's time
for each says more.

{machine}

| | what | measured | goal | medians |
|---|---|---|---|---|
"""
TAIL = """
![Requests a second]({picture})

"The project" is the render of the default answers, with all that it does for a request: id, log line, headers, hosts,
session, limits, checks of bodies. "Flask alone" has one route, and the same server with the same settings; "gunicorn
as it comes" has no threads. "WSGI alone" is a function that returns bytes. All answer the same JSON, each from one
process: of several without a proxy, chance gives one more connections than another. What nginx stands before has two.
Why goals are missed is told in [decisions.md](decisions.md), as is the size of an image, which `make test` builds.

## What settings give

The project on gunicorn, with one setting changed.

| what | ratio | medians |
|---|---|---|
{settings}"""


def machine() -> str:
    """Describe where it was measured."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    programs = [f"Python {platform.python_version()}", *filter(None, map(version, VERSIONS))]
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs ({cpu}), {release}, {', '.join(programs)}; load when it began: {load:.1f}."


VERSIONS = {"nginx": ["nginx", "-v"], "PostgreSQL": ["pg_config", "--version"], "Redis": ["redis-server", "--version"]}


def version(name: str) -> str:
    """Ask a program for its version, if it is there."""
    try:
        result = subprocess.run(VERSIONS[name], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    found = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
    return f"{name} {found[0]}" if found else ""


def page(figures: dict[str, Figure], settings: list[Figure], picture: str, **said: object) -> str:
    """Write the page."""
    goals = "".join(f"| {letter} {row(one)} {one.hoped} | {one.medians} |\n" for letter, one in figures.items())
    gains = "".join(f"{row(one)} {one.medians} |\n" for one in settings)
    return HEAD.format(**said) + goals + TAIL.format(picture=picture, settings=gains)


def row(one: Figure) -> str:
    """Begin a line of a table."""
    return f"| {one.what} | {one.show(one.value)}{'' if one.is_reached else ', missed'} |"


def draw(bars: list[Bar]) -> str:
    """Draw horizontal bars; it reads on dark and on light pages."""
    longest = max(bar.length for bar in bars)
    parts = []
    for number, bar in enumerate(bars):
        top = number * ROW + 10
        length = max(1, round(bar.length / longest * LENGTH))
        fill = "#2f81f7" if bar.is_ours else "#8c959f"
        parts.append(
            f'<text x="{LABELS - 8}" y="{top + 14}" text-anchor="end">{html.escape(bar.label)}</text>'
            f'<rect x="{LABELS}" y="{top + 3}" width="{length}" height="15" fill="{fill}"/>'
            f'<text x="{LABELS + length + 6}" y="{top + 14}">{bar.length:,.0f}/s · {html.escape(bar.note)}</text>'
        )
    height = len(bars) * ROW + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="Requests a second" font-family="system-ui,sans-serif" font-size="12" fill="#57606a">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
