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


def resident_set_size() -> int:
    """Return the memory of this process in bytes (proc_pid_status(5))."""
    (kilobytes,) = re.findall(r"(?m)^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(kilobytes) * 1024


def main(package: str) -> None:
    """Write the CPU microseconds of a request, and the memory in bytes, after each round."""
    # Each request is logged, as in production, to the null device.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = make_request(import_module(f"{package}.wsgi").app.wsgi_app, "/small")
    before = process_time()
    for _ in sys.stdin:
        for _ in range(REQUESTS):
            request()
        # A thread that exports what was recorded may run after a round: that time counts in the next one.
        now = process_time()
        print(json.dumps([(now - before) / REQUESTS * 1e6, resident_set_size()]), file=results, flush=True)
        before = now


if __name__ == "__main__":
    main(*sys.argv[1:])
