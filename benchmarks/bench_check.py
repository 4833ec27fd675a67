"""Compare counts of requests, of the import and of a render with those in `baseline.json`: `make bench-check`.

Counts do not depend on the load of the machine. The CPU instructions of a request are divided by those of the same
response from Flask alone, the instructions of the import by those of Flask's import, and the Python calls of a render
by those of a template with one file, each in the same run.
"""

import cProfile
import json
import os
import sys
import tempfile
from pathlib import Path
from pstats import Stats

from benchmarks.instruction_count import read_instructions
from benchmarks.projects import PEERS, Project, make_environment
from benchmarks.render_time import TEMPLATE, create_one_file_template, render_in_process
from tests.services import program

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.05
PRODUCTS = 1000
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def run_callgrind(project: Project, peer: str, output: Path, *arguments: str | Path, **settings: str) -> None:
    """Run Python in callgrind, with the project, or with an application in `peers/` in its place."""
    path = [str(PEERS / peer)] * bool(peer) + [str(project.folder / "src"), str(TEMPLATE)]
    valgrind: list[str | Path] = [program("valgrind", "valgrind"), "--quiet", "--tool=callgrind"]
    project.run(
        *valgrind,
        f"--callgrind-out-file={output}",
        *arguments,
        **settings,
        PYTHONPATH=os.pathsep.join(path),
        PYTHONHASHSEED="0",
    )


def count_instructions(project: Project, peer: str, **settings: str) -> dict[str, float]:
    """Return the CPU instructions of each request."""
    result = project.folder.parent / f"counts-{peer or 'project'}.json"
    result.with_suffix("").mkdir()
    python = project.programs / "python"
    command: list[str | Path] = ["--instr-atstart=no", python, "-m", "benchmarks.instruction_count", result]
    run_callgrind(project, peer, result.with_suffix("") / "dump", *command, **settings)
    counts: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return counts


def count_import(project: Project, peer: str, **settings: str) -> int:
    """Return the CPU instructions of a process that creates the application, whose code is compiled already."""
    output = project.folder.parent / f"import-{peer or 'project'}"
    run_callgrind(project, peer, output, project.programs / "python", "-c", "import my_service.wsgi", **settings)
    return read_instructions(output)


def count_render(template: Path, folder: Path) -> int:
    """Return the Python calls of a render. The hooks, which are processes, are not counted."""
    profile = cProfile.Profile()
    profile.runcall(render_in_process, template, folder)
    calls: int = vars(Stats(profile))["total_calls"]
    return calls


def main() -> None:
    """Print one line for each request, and exit with an error above the tolerance; UPDATE=1 writes the baseline."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        project = Project(folder / "project", make_environment(folder / "environment"))
        settings = {"DATABASE_URL": f"sqlite:///{folder}/catalog.sqlite3"}
        project.seed(PRODUCTS, **settings)
        bare, with_secret_key = (
            count_instructions(project, peer, **settings)["small JSON"] for peer in ("bare", "secret_key")
        )
        requests = count_instructions(project, "", **settings)
        own = project.with_own_packages(folder / "own")
        imports = [count_import(own, peer, **settings) for peer in ("", "bare")]
        one_file = create_one_file_template(folder / "one-file")
        count_render(one_file, folder / "warm-up")  # imports
        renders = [count_render(template, folder / template.name) for template in (TEMPLATE, one_file)]
    quotients = {
        **{name: instructions / bare for name, instructions in requests.items()},
        "small JSON, SECRET_KEY": requests["small JSON"] / with_secret_key,
        "import": imports[0] / imports[1],
        "render": renders[0] / renders[1],
    }
    ratios = {name: round(quotient, 3) for name, quotient in quotients.items()}
    stored = json.loads(BASELINE.read_text(encoding="utf-8"))
    if os.environ.get("UPDATE"):
        BASELINE.write_text(json.dumps({**stored, PYTHON: ratios}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    baseline = stored.get(PYTHON, {})
    exceeded = []
    print(f"Python {PYTHON}: ratio and baseline. A request to Flask alone takes {bare:,.0f} instructions.")
    for name, ratio in ratios.items():
        change = ratio / baseline[name] - 1 if name in baseline else 0.0
        print(f"{name:<24}{ratio:>8.2f}{baseline.get(name, 0):>8.2f}{change:>+8.1%}")
        exceeded += [name] * (change > TOLERANCE)
    if exceeded and not os.environ.get("UPDATE"):
        sys.exit(f"More than {TOLERANCE:.0%} worse than benchmarks/baseline.json: {', '.join(exceeded)}")


if __name__ == "__main__":
    main()
