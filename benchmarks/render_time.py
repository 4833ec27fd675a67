"""Compare the render time of the default project with that of a template of one file, alternating in one run."""

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

Render = Callable[[Path, Path], None]


def create_one_file_template(folder: Path) -> Path:
    """Create a template with one file, and return its folder."""
    project = folder / "{{cookiecutter.project_slug}}"
    project.mkdir(parents=True)
    (project / "README.md").write_text("# {{ cookiecutter.project_slug }}\n", encoding="utf-8")
    (folder / "cookiecutter.json").write_text(json.dumps({"project_slug": "my-service"}), encoding="utf-8")
    return folder


def render_with_command(template: Path, output: Path) -> None:
    """Render with the cookiecutter command."""
    command: list[str | Path] = [COMMAND, template, "--no-input", "--default-config", "-o", output]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def discard_output() -> Iterator[None]:
    """Discard the output of this process and of its subprocesses, such as hooks."""
    stdout, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(null)


def render_in_process(template: Path, output: Path) -> None:
    """Render in this process, which has already imported cookiecutter."""
    with discard_output():
        cookiecutter(str(template), no_input=True, default_config=True, output_dir=str(output))


def time_render(render: Render, template: Path, output: Path) -> float:
    """Return the duration of one render in seconds."""
    started = perf_counter()
    render(template, output)
    return perf_counter() - started


def compare(
    render: Render, smallest_template: Path, folder: Path, number_of_rounds: int = ROUNDS
) -> tuple[float, float, float]:
    """Measure both templates in alternation.

    Return the median seconds of the smallest template, the median seconds of this one, and the median of the ratios of
    each round.
    """
    rounds = []
    for number in range(number_of_rounds + 1):
        pair = [
            time_render(render, template, folder / str(number) / template.name)
            for template in (smallest_template, TEMPLATE)
        ]
        rounds.append(pair)
    rounds = rounds[1:]  # the first one is a warm-up
    smallest_seconds, default_seconds = (median(times) for times in zip(*rounds, strict=True))
    ratio = median(default / smallest for smallest, default in rounds)
    return smallest_seconds, default_seconds, ratio


def main() -> None:
    """Print both ratios; a missed goal is not an error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        smallest_template = create_one_file_template(folder / "one-file")
        print(f"{ROUNDS} rounds, medians     one file     default   ratio", flush=True)
        for label, render in {"command": render_with_command, "in process": render_in_process}.items():
            smallest_seconds, default_seconds, ratio = compare(render, smallest_template, folder / label)
            print(
                f"{label:<21} {smallest_seconds * 1000:>7.0f} ms {default_seconds * 1000:>7.0f} ms {ratio:>7.2f}",
                flush=True,
            )
        print(f"The goal is {GOAL} for the command.")


if __name__ == "__main__":
    main()
