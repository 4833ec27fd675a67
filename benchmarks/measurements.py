"""Measurements, their goals, and the alternation of targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measurement:
    """A median, or a ratio of two medians, with its unit and its goal."""

    title: str
    value: float
    goal: float | None = None
    at_least: bool = True
    unit: str = ""
    medians: str = ""

    @property
    def is_reached(self) -> bool:
        """Return whether the value reaches the goal."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def goal_text(self) -> str:
        """Return the goal with its comparison and unit."""
        return "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}{self.unit}"

    def format(self, number: float) -> str:
        """Return a number with three digits and the unit."""
        digits = 0 if number >= 100 else 1 if number >= 10 else 2
        return f"{number:.{digits}f}{self.unit}"


@dataclass
class Bar:
    """One bar of the chart."""

    label: str
    length: float
    note: str
    is_ours: bool = field(default=False)


def alternate(targets: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Measure all targets in alternation; the first round is a warm-up and is discarded."""
    results: dict[str, list[Result]] = {name: [] for name in targets}
    for number in range(rounds + 1):
        for name, measure in targets.items():
            result = measure()
            if number:
                results[name].append(result)
    return results


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the ratio of two medians."""
    return median(numerator) / median(denominator)
