"""Processes that share their metrics. Further ones are forks, which count and end."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from {{ cookiecutter.package_name }}.core.monitoring.prometheus import (
    shared_files as module,
)
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.shared_files import (
    FILE_SIZE,
    Counter,
    Gauge,
    Histogram,
    SharedValues,
    ValueFile,
    render,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Process:
    """The values of a process, and some metrics."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values = SharedValues()
        monkeypatch.setattr(module, "shared_values", self.values)
        self.events = Counter("events", "Events.", ["kind"], registry=None)
        self.sizes = Histogram("size", "Sizes.", registry=None, buckets=(1, 2))
        self.running = Gauge("running", "Runs.", registry=None, multiprocess_mode="livesum")
        self.version = Gauge("version", "1", registry=None, multiprocess_mode="livemostrecent")

    def samples(self) -> dict[str, float]:
        """Return the metrics of all processes."""
        lines = [line for line in render().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    """The process of this test."""
    return Process(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of all processes."""
    return tmp_path / "metrics"


def in_fork(function: Callable[[], object]) -> None:
    """Call a function in a process of its own."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_replaced_processes_leave_counters_and_no_more_files(
    process: Process, folder: Path
) -> None:
    def work() -> None:
        process.values.start(folder)
        process.events.labels("work").inc()
        process.sizes.observe(1.5)
        process.running.inc()

    for _ in range(20):
        in_fork(work)
    kinds = ("counter", "gauge_livemostrecent", "gauge_livesum", "histogram")
    assert sorted(path.stem for path in folder.glob("*.*")) == [f"{kind}_1" for kind in kinds]
    assert {path.stat().st_size for path in folder.glob("*.*")} == {FILE_SIZE}
    process.values.start(folder)
    samples = process.samples()
    assert samples['events_total{kind="work"}'] == samples["size_count"] == 20
    assert samples["size_sum"] == 30
    assert samples['size_bucket{le="1.0"}'] == 0
    # The processes have ended.
    assert samples["running"] == 0


def test_forks_have_values_of_their_own(process: Process, folder: Path) -> None:
    process.values.start(folder)
    process.events.labels("event").inc()
    process.running.inc()

    def child() -> None:
        assert process.values.slot == 2
        process.events.labels("event").inc(10)
        process.running.inc()
        # Both run.
        assert process.samples()['events_total{kind="event"}'] == 11
        assert process.samples()["running"] == 2

    in_fork(child)
    process.events.labels("event").inc()
    assert process.samples()['events_total{kind="event"}'] == 12
    assert process.samples()["running"] == 1


def test_other_processes_have_other_slots(process: Process, folder: Path) -> None:
    process.values.start(folder)
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        process.running.set(5)
        # The parent closes the other end, also when it fails.
        os.close(done[1])
        os.write(ready[1], b"1")
        os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        assert process.values.is_in_use(2)
        assert not process.values.is_in_use(3)
        assert process.samples()["running"] == 5
    finally:
        for end in (*ready, *done):
            os.close(end)
    os.waitpid(pid, 0)
    assert not process.values.is_in_use(2)
    assert process.samples()["running"] == 0


def test_values_from_before_the_start_count(
    process: Process, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.events.labels("event").inc(2)
    process.version.set(1)
    assert process.values.start(folder)
    assert not process.values.start(folder / "other")
    process.version.set(2)
    process.events.labels("event").inc()
    assert process.samples()['events_total{kind="event"}'] == 3
    assert process.samples()["version"] == 2
    assert b'events_total{kind="event"} 3.0' in generate_latest(process.events)
    # As in a fork.
    process.values.restart()
    assert b'events_total{kind="event"} 3.0' in generate_latest(process.events)
    # A process that does not share its metrics reports its own.
    alone = Process(monkeypatch)
    alone.values.restart()
    assert not alone.values.slot
    assert b"process_start" in render()


def test_file_grows(folder: Path) -> None:
    folder.mkdir()
    file = ValueFile(folder / "counter_1.db")
    keys = ["ä" * length for length in range(1, 300)]
    for number, key in enumerate(keys):
        file.get(key)[0] = number
    assert (folder / "counter_1.db").stat().st_size == 2 * FILE_SIZE
    for reader in (file, ValueFile(folder / "counter_1.db")):
        assert [reader.get(key)[0] for key in keys] == [*range(299)]


def fail_to_allocate(_path: Path, _size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_costs_only_metrics_and_one_warning(
    process: Process,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process.values.start(folder)
    process.sizes.observe(1)
    monkeypatch.setattr(module, "allocate", fail_to_allocate)
    process.values.files.clear()
    for number in range(10):
        process.events.labels(f"{number}").inc()
    process.sizes.observe(1)
    assert b'events_total{kind="9"} 1.0' in generate_latest(process.events)
    assert process.samples()["size_count"] == 2
    assert capsys.readouterr().out.count("metrics not stored") == 1


def test_folder_of_another_user_is_not_used(
    process: Process,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    process.values.start(folder)
    process.events.labels("event").inc()
    assert list(folder.iterdir()) == []
    assert "it belongs to another user" in capsys.readouterr().out
