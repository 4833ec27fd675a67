"""What a benchmark has found, and what was hoped for."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """A ratio of medians, or a median with its unit, beside its goal."""

    what: str
    value: float
    goal: float | None = None
    at_least: bool = True
    unit: str = ""
    medians: str = ""

    @property
    def is_reached(self) -> bool:
        """Tell whether it is as good as was hoped."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def hoped(self) -> str:
        """Write the goal."""
        return "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}{self.unit}"

    def show(self, number: float) -> str:
        """Write a number of its kind."""
        digits = 0 if number >= 100 else 1 if number >= 10 else 2
        return f"{number:.{digits}f}{self.unit}"


@dataclass
class Bar:
    """A bar of the picture."""

    label: str
    length: float
    note: str
    is_ours: bool = field(default=False)
