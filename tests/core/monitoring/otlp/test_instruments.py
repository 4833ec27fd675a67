"""Counters and histograms."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from {{ cookiecutter.package_name }}.core.monitoring.otlp import (
    instruments,
)
from {{ cookiecutter.package_name }}.core.monitoring.otlp.instruments import (
    Counter,
    Histogram,
)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "instruments", [])


def read(instrument: Histogram) -> dict[tuple[str | int, ...], list[float]]:
    """Return the values of an instrument."""
    return instrument.read(is_delta=False)[1]


def test_number_of_uncounted_values_is_limited() -> None:
    histogram = Histogram("x", "", [], (1,))
    for number in range(1, 3 * instruments.BATCH):
        histogram.record(2)
        assert len(histogram.recorded) < instruments.BATCH
        if number % 1500 == 0:
            assert read(histogram) == {(): [0, number, 2.0 * number]}


def test_threads_count_each_value_once() -> None:
    counter = Counter("x", "", [], "{x}")

    def record(_: int) -> None:
        for _ in range(1000):
            counter.record(1)
            read(counter)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(record, range(4)))
    assert read(counter) == {(): [4000, 4000.0]}


def test_values_are_counted_in_buckets() -> None:
    histogram = Histogram("x", "", ["a"], (1, 2))
    for value in (0.5, 1, 1.5, 7):
        histogram.record(value, "b")
    assert read(histogram) == {("b",): [2, 1, 1, 10.0]}


def test_delta_starts_again() -> None:
    counter = Counter("x", "", ["a"], "{x}")
    counter.record(2, "b")
    started, series = counter.read(is_delta=True)
    assert series == {("b",): [1, 2.0]}
    again, series = counter.read(is_delta=True)
    assert series == {}
    assert again > started


def test_number_of_series_is_limited() -> None:
    counter = Counter("x", "", ["a"], "{x}")
    for number in range(2000):
        counter.record(1, number)
    series = read(counter)
    assert len(series) == 1001
    assert series[()][-1] == 1000


def test_fork_starts_with_no_values() -> None:
    counter = Counter("x", "", [], "{x}")
    counter.record(1)
    if not (pid := os.fork()):
        os._exit(len(read(counter)))
    assert os.waitpid(pid, 0)[1] == 0
    assert read(counter) == {(): [1, 1.0]}


def test_values_of_another_process_are_added() -> None:
    counter, histogram = Counter("x", "", ["a"], "{x}"), Histogram("y", "", ["a", "b"], (1, 2))
    for value in (0.5, 7):
        histogram.record(value, "b", 200)
    values = instruments.dump()
    assert not read(histogram)
    counter.record(1, "c")
    instruments.add(values)
    assert read(counter) == {("c",): [1, 1]}
    assert read(histogram) == {("b", 200): [1, 0, 1, 7.5]}
