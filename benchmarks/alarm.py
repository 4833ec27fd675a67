"""Compare what requests cost now with what they cost when `baseline.json` was written, by counts that no noise changes.

Instructions of the processor for each request, in ratio to Flask alone, which answers the same in the same run.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.bake import TEMPLATE
from benchmarks.projects import PEERS, Project, make_environment
from tests.services import program

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.05
PRODUCTS = 1000
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def count(project: Project, peer: str, **settings: str) -> dict[str, float]:
    """Count the instructions of requests, in the render or in a peer."""
    result = project.folder.parent / f"counts-{peer or 'project'}.json"
    result.with_suffix("").mkdir()
    path = [str(PEERS / peer)] * bool(peer) + [str(project.folder / "src"), str(TEMPLATE)]
    valgrind: list[str | Path] = [program("valgrind", "valgrind"), "--quiet", "--tool=callgrind", "--instr-atstart=no"]
    project.run(
        "python",
        "-c",
        "import os, sys; os.execv(sys.argv[1], sys.argv[1:])",
        *valgrind,
        f"--callgrind-out-file={result.with_suffix('')}/dump",
        project.programs / "python",
        "-m",
        "benchmarks.counted",
        result,
        **settings,
        PYTHONPATH=os.pathsep.join(path),
        PYTHONHASHSEED="0",
    )
    counts: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return counts


def main() -> None:
    """Print a line for each; with UPDATE set they become the baseline."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        project = Project(folder / "project", make_environment(folder / "environment"))
        settings = {"DATABASE_URL": f"sqlite:///{folder}/catalog.sqlite3"}
        project.fill(PRODUCTS, **settings)
        bare = count(project, "bare", **settings)["small JSON"]
        ratios = {what: round(number / bare, 3) for what, number in count(project, "", **settings).items()}
    stored = json.loads(BASELINE.read_text(encoding="utf-8"))
    if os.environ.get("UPDATE"):
        BASELINE.write_text(json.dumps({**stored, PYTHON: ratios}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    before = stored.get(PYTHON, {})
    worse = []
    print(f"Python {PYTHON}: instructions of a request / of Flask alone ({bare:,.0f})")
    for what, ratio in ratios.items():
        change = ratio / before[what] - 1 if what in before else 0.0
        print(f"{what:<20}{ratio:>8.2f}{before.get(what, 0):>8.2f}{change:>+8.1%}")
        worse += [what] * (change > TOLERANCE)
    if worse and not os.environ.get("UPDATE"):
        sys.exit(f"More than {TOLERANCE:.0%} worse than benchmarks/baseline.json: {', '.join(worse)}")


if __name__ == "__main__":
    main()
