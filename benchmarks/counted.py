"""Answer requests under callgrind, which counts instructions: RESULT; settings come from the environment."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.inside import make_request

# What is asked for: addresses of the project, and how often.
ADDRESSES = {"small JSON": "/small", "the list, kept": "/api/v1/products", "the list, made": "/made"}
WARM, NUMBER = 30, 30


def control(*words: str) -> None:
    """Tell callgrind what to do (valgrind's manual, section 6.3)."""
    subprocess.run(
        ["callgrind_control", *words, str(os.getpid())],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def read(path: Path) -> int:
    """Read how many instructions a dump has."""
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("summary:"))
    return int(line.split()[1])


def count(request: Callable[[], object], folder: Path) -> float:
    """Count the instructions of a request: what is left of three times as many, less what is around them.

    Without the garbage collector, which falls upon one request or another.
    """
    for _ in range(WARM):
        request()
    before = {*folder.iterdir()}
    gc.collect()
    gc.disable()
    control("--instr=on")
    control("--dump=begin")
    for number in (NUMBER, 3 * NUMBER):
        for _ in range(number):
            request()
        control("--dump=end")
    control("--instr=off")
    gc.enable()
    _, once, thrice, *_ = sorted({*folder.iterdir()} - before, key=lambda path: int(path.suffix[1:]))
    return (read(thrice) - read(once)) / (2 * NUMBER)


def main(result: str) -> None:
    """Count each kind of request; dumps are in a folder of the same name."""
    from my_service.wsgi import app  # noqa: PLC0415 - a peer's where one is measured

    rules = {rule.rule for rule in app.url_map.iter_rules()}
    addresses = {name: address for name, address in ADDRESSES.items() if address in rules}
    # Each request is logged, as in production; to nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    folder = Path(result).with_suffix("")
    counts = {name: count(make_request(app.wsgi_app, address), folder) for name, address in addresses.items()}
    Path(result).write_text(json.dumps(counts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
