"""HTTP load tests with wrk, which measure throughput, CPU time and latency."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.services import program

CHECK = Path(__file__).with_name("check.lua")
HOST = "example.com"
CONNECTIONS = 16
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """Result of one round: requests per second, CPU microseconds per request, latency percentiles in milliseconds."""

    requests: float
    cpu: float
    p50: float
    p99: float


class Target(NamedTuple):
    """A URL, the expected response body, the session IDs of the server processes, request headers, and connections."""

    url: str
    body: bytes
    sessions: tuple[int, ...]
    headers: tuple[str, ...] = ()
    connections: int = CONNECTIONS

    def load(self, seconds: int) -> Sample:
        """Send requests without a pause for `seconds`, and compare each response with the expected body."""
        with tempfile.NamedTemporaryFile() as expected:
            expected.write(self.body)
            expected.flush()
            command = [
                *(program("wrk", "wrk"), "--threads=1", f"--connections={self.connections}", f"--duration={seconds}s"),
                *("--timeout=30s", "--script", CHECK, "--header", f"Host: {HOST}"),
                *(word for header in self.headers for word in ("--header", header)),
                *(self.url, "--", expected.name),
            ]
            cpu_before = cpu_seconds(self.sessions)
            result = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
            used = cpu_seconds(self.sessions) - cpu_before
        summary = json.loads(result.stdout.splitlines()[-1])
        assert not summary["failed"], f"{self.url}: {result.stdout}"
        number = summary["requests"]
        rate = number / summary["microseconds"] * 1e6
        return Sample(rate, used / number * 1e6, summary["p50"] / 1000, summary["p99"] / 1000)


def cpu_seconds(sessions: Sequence[int]) -> float:
    """Return the CPU time in seconds of all processes in these sessions."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # the process has exited
            continue
        if int(fields[3]) in sessions:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND
