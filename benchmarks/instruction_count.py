"""Count the CPU instructions of requests with callgrind. Argument: RESULT.

The settings are read from the environment.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.in_process import make_request

# The path of each measured request.
PATHS = {"small JSON": "/small", "cached list": "/api/v1/products", "uncached list": "/uncached"}
WARM_UP_REQUESTS, REQUESTS = 30, 30


def control_callgrind(*arguments: str) -> None:
    """Send a command to callgrind (valgrind manual, section 6.3)."""
    subprocess.run(
        ["callgrind_control", *arguments, str(os.getpid())],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def read_instructions(path: Path) -> int:
    """Return the number of instructions in a dump."""
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("summary:"))
    return int(line.split()[1])


def observe_requests() -> None:
    """Let the project count the values that it has recorded, as it does from time to time."""
    monitoring = "my_service.core.monitoring"
    if prometheus := sys.modules.get(f"{monitoring}.prometheus.requests"):
        prometheus.observe_finished()
    if otlp := sys.modules.get(f"{monitoring}.otlp.instruments"):
        otlp.dump()


def count_instructions(request: Callable[[], object], folder: Path) -> float:
    """Return the number of instructions per request.

    Two runs of different length are subtracted, which removes the fixed cost of a run. The garbage collector is off,
    because it would run in an arbitrary request.
    """
    for _ in range(WARM_UP_REQUESTS):
        request()
    observe_requests()
    earlier = {*folder.iterdir()}
    gc.collect()
    gc.disable()
    control_callgrind("--instr=on")
    control_callgrind("--dump=begin")
    for number in (REQUESTS, 3 * REQUESTS):
        for _ in range(number):
            request()
        observe_requests()
        control_callgrind("--dump=end")
    control_callgrind("--instr=off")
    gc.enable()
    _, first, second, *_ = sorted({*folder.iterdir()} - earlier, key=lambda path: int(path.suffix[1:]))
    return (read_instructions(second) - read_instructions(first)) / (2 * REQUESTS)


def main(result: str) -> None:
    """Count the instructions of each request in `PATHS` and write JSON to `result`.

    callgrind writes its dumps to a folder named like `result` without the extension.
    """
    from my_service.wsgi import app  # noqa: PLC0415 - a peer replaces this package

    rules = {rule.rule for rule in app.url_map.iter_rules()}
    paths = {name: path for name, path in PATHS.items() if path in rules}
    # Each request is logged, as in production, to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    folder = Path(result).with_suffix("")
    counts = {name: count_instructions(make_request(app.wsgi_app, path), folder) for name, path in paths.items()}
    Path(result).write_text(json.dumps(counts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
