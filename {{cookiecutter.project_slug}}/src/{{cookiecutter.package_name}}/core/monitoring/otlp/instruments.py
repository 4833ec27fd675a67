"""Counters and histograms in the memory of this process.

Those of the SDK take ten times as long (1.45.2). The metrics of other code, which calls
`get_meter`, are of the SDK.
"""

import json
import os
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from threading import Lock
from time import time_ns

Attributes = tuple[str | int, ...]
Series = dict[Attributes, list[float]]

# Further combinations of attributes are counted together.
MAX_SERIES = 1000
# Number of values that are recorded before they are counted.
BATCH = 1000


class Histogram:
    """Counts values in buckets, for each combination of attributes."""

    def __init__(
        self,
        name: str,
        description: str,
        attributes: Sequence[str],
        bounds: Sequence[float],
        unit: str = "s",
    ) -> None:
        self.name = name
        self.description = description
        self.attributes = attributes
        self.bounds = bounds
        self.unit = unit
        self.reset()
        os.register_at_fork(after_in_child=self.reset)
        instruments.append(self)

    def reset(self) -> None:
        """Start with no values, in a new process."""
        self.lock = Lock()
        # Values that are not counted yet. Together they take a third of the time: in between, a
        # request replaces the code and the counts in the processor's cache.
        self.recorded: deque[tuple[Attributes, float]] = deque()
        self.started = time_ns()
        # The counts of the buckets, and the sum of the values.
        self.series: Series = {}

    def record(self, value: float, *attributes: str | int) -> None:
        """Record a value."""
        self.recorded.append((attributes, value))
        if len(self.recorded) >= BATCH:
            with self.lock:
                self.count()

    def count(self) -> None:
        """Count the recorded values, for a caller that has the lock."""
        while self.recorded:
            attributes, value = self.recorded.popleft()
            numbers = self.series.get(attributes) or self.start(attributes)
            numbers[bisect_left(self.bounds, value)] += 1
            numbers[-1] += value

    def add(self, attributes: Attributes, numbers: Sequence[float]) -> None:
        """Add numbers of another process."""
        with self.lock:
            sums = self.series.get(attributes) or self.start(attributes)
            sums[:] = map(sum, zip(sums, numbers, strict=True))

    def start(self, attributes: Attributes) -> list[float]:
        """Start to count a combination of attributes, if there is a place."""
        if len(self.series) >= MAX_SERIES:
            attributes = ()
        return self.series.setdefault(attributes, [0] * (len(self.bounds) + 1) + [0.0])

    def read(self, *, is_delta: bool) -> tuple[int, Series]:
        """Return the start time and the values; with `is_delta` start again."""
        with self.lock:
            self.count()
            started, series = self.started, self.series
            if is_delta:
                self.started, self.series = time_ns(), {}
                return started, series
            return started, {key: [*numbers] for key, numbers in series.items()}


class Counter(Histogram):
    """Adds amounts: a histogram with one bucket, of which the sum is exported."""

    def __init__(self, name: str, description: str, attributes: Sequence[str], unit: str) -> None:
        super().__init__(name, description, attributes, (), unit)


instruments: list[Histogram] = []


def dump() -> str:
    """Return the values since the last call in this process, for `add`."""
    return json.dumps([[*instrument.read(is_delta=True)[1].items()] for instrument in instruments])


def add(values: str) -> None:
    """Add the values of another process, whose instruments are the same."""
    for instrument, items in zip(instruments, json.loads(values), strict=True):
        for attributes, numbers in items:
            instrument.add(tuple(attributes), numbers)
