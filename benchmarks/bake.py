"""Measure a bake of the default project against a template of one file: alternating, in one run, as medians."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("cookiecutter")
ROUNDS = 21
GOAL = 1.3

Bake = Callable[[Path, Path], None]


def one_file(folder: Path) -> Path:
    """Make the smallest template that there is."""
    project = folder / "{{cookiecutter.project_slug}}"
    project.mkdir(parents=True)
    (project / "README.md").write_text("# {{ cookiecutter.project_slug }}\n", encoding="utf-8")
    (folder / "cookiecutter.json").write_text(json.dumps({"project_slug": "my-service"}), encoding="utf-8")
    return folder


def by_command(template: Path, output: Path) -> None:
    """Bake as a person does."""
    command: list[str | Path] = [COMMAND, template, "--no-input", "--default-config", "-o", output]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def silence() -> Iterator[None]:
    """Keep hooks, which are programs of their own, from printing."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def in_process(template: Path, output: Path) -> None:
    """Bake as a program does that has loaded cookiecutter already."""
    with silence():
        cookiecutter(str(template), no_input=True, default_config=True, output_dir=str(output))


def seconds(bake: Bake, template: Path, output: Path) -> float:
    """Time one bake."""
    started = perf_counter()
    bake(template, output)
    return perf_counter() - started


def compare(bake: Bake, smallest: Path, folder: Path, number_of_rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Take turns; give the medians of the smallest template and of ours, and the median of the rounds' ratios."""
    rounds = []
    for number in range(number_of_rounds + 1):
        pair = [seconds(bake, template, folder / str(number) / template.name) for template in (smallest, TEMPLATE)]
        rounds.append(pair)
    rounds = rounds[1:]  # the first one warms up
    small, ours = (median(side) for side in zip(*rounds, strict=True))
    return small, ours, median(ours / small for small, ours in rounds)


def main() -> None:
    """Print both figures; a figure is never a failure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        smallest = one_file(folder / "one-file")
        print(f"{ROUNDS} rounds, medians     one file        ours   ratio", flush=True)
        for label, bake in {"command": by_command, "in process": in_process}.items():
            small, ours, ratio = compare(bake, smallest, folder / label)
            print(f"{label:<21} {small * 1000:>7.0f} ms {ours * 1000:>7.0f} ms {ratio:>7.2f}", flush=True)
        print(f"The goal is {GOAL} for the command.")


if __name__ == "__main__":
    main()
