"""Compare the CPU instructions of requests with those in `baseline.json`: `make bench-check`.

Instruction counts do not depend on the load of the machine. Each is divided by the count of the same response from
Flask alone, in the same run.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.projects import PEERS, Project, make_environment
from benchmarks.render_time import TEMPLATE
from tests.services import program

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.05
PRODUCTS = 1000
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def count_instructions(project: Project, peer: str, **settings: str) -> dict[str, float]:
    """Return the CPU instructions of each request to the project, or to an application in `peers/`."""
    result = project.folder.parent / f"counts-{peer or 'project'}.json"
    result.with_suffix("").mkdir()
    path = [str(PEERS / peer)] * bool(peer) + [str(project.folder / "src"), str(TEMPLATE)]
    valgrind: list[str | Path] = [program("valgrind", "valgrind"), "--quiet", "--tool=callgrind", "--instr-atstart=no"]
    project.run(
        *valgrind,
        f"--callgrind-out-file={result.with_suffix('')}/dump",
        project.programs / "python",
        "-m",
        "benchmarks.instruction_count",
        result,
        **settings,
        PYTHONPATH=os.pathsep.join(path),
        PYTHONHASHSEED="0",
    )
    counts: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return counts


def main() -> None:
    """Print one line for each request, and exit with an error above the tolerance; UPDATE=1 writes the baseline."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        project = Project(folder / "project", make_environment(folder / "environment"))
        settings = {"DATABASE_URL": f"sqlite:///{folder}/catalog.sqlite3"}
        project.seed(PRODUCTS, **settings)
        bare = count_instructions(project, "bare", **settings)["small JSON"]
        ratios = {
            name: round(instructions / bare, 3)
            for name, instructions in count_instructions(project, "", **settings).items()
        }
    stored = json.loads(BASELINE.read_text(encoding="utf-8"))
    if os.environ.get("UPDATE"):
        BASELINE.write_text(json.dumps({**stored, PYTHON: ratios}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    baseline = stored.get(PYTHON, {})
    exceeded = []
    print(f"Python {PYTHON}: instructions per request / per request to Flask alone ({bare:,.0f})")
    for name, ratio in ratios.items():
        change = ratio / baseline[name] - 1 if name in baseline else 0.0
        print(f"{name:<20}{ratio:>8.2f}{baseline.get(name, 0):>8.2f}{change:>+8.1%}")
        exceeded += [name] * (change > TOLERANCE)
    if exceeded and not os.environ.get("UPDATE"):
        sys.exit(f"More than {TOLERANCE:.0%} worse than benchmarks/baseline.json: {', '.join(exceeded)}")


if __name__ == "__main__":
    main()
