"""Duration of list requests on PostgreSQL: eager or N+1 queries, page 1 or page 1,000, cached or uncached."""

import json
import os
from statistics import median

from benchmarks.measurements import Measurement, ratio
from benchmarks.projects import Project
from benchmarks.render_time import TEMPLATE


def measure(project: Project, rounds: int, products: int, **settings: str) -> list[Measurement]:
    """Run `benchmarks.list_endpoint` in the project, and compare its results."""
    result = project.folder.parent / "lists.json"
    path = f"{project.folder / 'src'}{os.pathsep}{TEMPLATE}"
    project.run("python", "-m", "benchmarks.list_endpoint", str(rounds), result, **settings, PYTHONPATH=path)
    found = json.loads(result.read_text(encoding="utf-8"))
    wall: dict[str, list[float]] = found["rounds"]
    queries: dict[str, int] = found["queries"]

    def compare(title: str, numerator: str, denominator: str, goal: float) -> Measurement:
        medians = " / ".join(f"{median(wall[name]):,.0f} µs" for name in (numerator, denominator))
        return Measurement(title, ratio(wall[numerator], wall[denominator]), goal, medians=medians)

    return [
        compare("20 products with their categories: N+1 / eager", "N+1", "eager", 3),
        Measurement(
            "SQL statements of the eager list",
            queries["eager"],
            2,
            at_least=False,
            medians=f"N+1: {queries['N+1']}",
        ),
        compare(f"a list of {products:,} products: uncached / cached", "uncached", "cached", 5),
        compare("the list: page 1 / page 1,000", "page 1", "page 1,000", 0.9),
    ]
