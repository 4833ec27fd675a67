"""Lists on PostgreSQL, in one process: eager against N+1, page 1,000 against page 1, kept against made."""

import json
import os
from statistics import median

from benchmarks.bake import TEMPLATE
from benchmarks.figures import Figure
from benchmarks.load import ratio
from benchmarks.projects import Project


def measure(project: Project, rounds: int, products: int, **settings: str) -> list[Figure]:
    """Let all lists take turns in a process of the project, which tells the microseconds of a request."""
    result = project.folder.parent / "lists.json"
    path = f"{project.folder / 'src'}{os.pathsep}{TEMPLATE}"
    project.run("python", "-m", "benchmarks.lists", str(rounds), result, **settings, PYTHONPATH=path)
    found = json.loads(result.read_text(encoding="utf-8"))
    wall: dict[str, list[float]] = found["rounds"]
    queries: dict[str, int] = found["queries"]

    def compare(what: str, above: str, below: str, goal: float) -> Figure:
        medians = " / ".join(f"{median(wall[name]):,.0f} µs" for name in (above, below))
        return Figure(what, ratio(wall[above], wall[below]), goal, medians=medians)

    return [
        compare("20 products with their categories: N+1 / eager", "N+1", "eager", 3),
        Figure(
            "queries of the eager list",
            queries["eager"],
            2,
            at_least=False,
            medians=f"N+1: {queries['N+1']}",
        ),
        compare(f"a list of {products:,} products: made / kept by the cache", "made", "kept", 5),
        compare("the list: page 1 / page 1,000", "page 1", "page 1,000", 0.9),
    ]
