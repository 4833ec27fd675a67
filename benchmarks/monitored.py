"""Measure rounds of requests in a process that stays, so that several projects alternate.

Each line of the standard input starts a round, whose result is a line of the standard output. The settings are read
from the environment.
"""

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from time import process_time

from benchmarks.in_process import make_request

REQUESTS = 1500
# Spans are exported after so many requests, fewer than the SDK exports in its thread.
BATCH = 500


def resident_set_size() -> int:
    """Return the memory of this process in bytes (proc_pid_status(5))."""
    (kilobytes,) = re.findall(r"(?m)^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(kilobytes) * 1024


def export_spans() -> None:
    """Export what was recorded, while no request is served, as in a server that waits for requests in between.

    In a process that is never idle, the thread of the exporter and the requests compete for Python's lock, which costs
    as much as the export. With a sampler there are few spans, which are exported every five seconds.
    """
    if "OTEL_TRACES_SAMPLER" in os.environ:
        return
    if trace := sys.modules.get("opentelemetry.trace"):
        getattr(trace.get_tracer_provider(), "force_flush", int)()


def main(package: str) -> None:
    """Write the CPU microseconds of a request, and the memory in bytes, after each round."""
    # Each request is logged, as in production, to the null device.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = make_request(import_module(f"{package}.wsgi").app.wsgi_app, "/small")
    before = process_time()
    for _ in sys.stdin:
        for number in range(1, REQUESTS + 1):
            request()
            if number % BATCH == 0:
                export_spans()
        # A thread that exports what was recorded may run after a round: that time counts in the next one.
        now = process_time()
        print(json.dumps([(now - before) / REQUESTS * 1e6, resident_set_size()]), file=results, flush=True)
        before = now


if __name__ == "__main__":
    main(*sys.argv[1:])
