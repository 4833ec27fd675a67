"""Requests to servers, by wrk; what they took of the processor, and of the clients' time."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from tests.services import program

CHECK = Path(__file__).with_name("check.lua")
HOST = "example.com"
CLIENTS = 16
TICKS = os.sysconf("SC_CLK_TCK")

Figures = TypeVar("Figures")


class Sample(NamedTuple):
    """What a round has shown: requests a second, microseconds of the processor for each, milliseconds of waiting."""

    requests: float
    cpu: float
    p50: float
    p99: float


class Side(NamedTuple):
    """An address, what it answers, and the sessions of processes that work for it."""

    address: str
    body: bytes
    processes: tuple[int, ...]
    headers: tuple[str, ...] = ()

    def ask(self, seconds: int) -> Sample:
        """Ask without a pause; every answer is compared with what is expected."""
        with tempfile.NamedTemporaryFile() as expected:
            expected.write(self.body)
            expected.flush()
            command = [
                *(program("wrk", "wrk"), "--threads=1", f"--connections={CLIENTS}", f"--duration={seconds}s"),
                *("--timeout=30s", "--script", CHECK, "--header", f"Host: {HOST}"),
                *(word for header in self.headers for word in ("--header", header)),
                *(self.address, "--", expected.name),
            ]
            used = cpu_of(self.processes)
            result = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
            used = cpu_of(self.processes) - used
        figures = json.loads(result.stdout.splitlines()[-1])
        assert not figures["failed"], f"{self.address}: {result.stdout}"
        number = figures["requests"]
        rate = number / figures["microseconds"] * 1e6
        return Sample(rate, used / number * 1e6, figures["p50"] / 1000, figures["p99"] / 1000)


def cpu_of(sessions: Sequence[int]) -> float:
    """Sum the seconds of the processor that all processes of some sessions have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) in sessions:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def in_turns(sides: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Let all sides take turns; the first round warms up, and does not count."""
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, measure in sides.items():
            figure = measure()
            if number:
                found[name].append(figure)
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The ratio of two sides' medians."""
    return median(above) / median(below)
