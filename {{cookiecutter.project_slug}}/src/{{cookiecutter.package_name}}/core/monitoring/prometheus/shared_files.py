"""Values of metrics in files, with which one process reports the metrics of all.

The multiprocess mode of prometheus_client names files after process IDs and deletes none, so that
each process that is replaced leaves some. Here the name is a number, the slot: the lowest that no
running process has. The next process with the slot adds to the counters of the one that has ended.
"""

import collections
import errno
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from itertools import count
from mmap import mmap
from pathlib import Path
from threading import Lock
from typing import Any

import prometheus_client
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Metric, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["Counter", "Gauge", "Histogram", "render", "shared_values"]

FILE_SIZE = 65_536
# The format of a file: the number of used bytes, and from FIRST_ENTRY on the entries. Each has the
# length of its key, the key, blanks up to a multiple of 8, and two numbers: value and timestamp.
FIRST_ENTRY = 8
NUMBERS_SIZE = 16
# The byte of the lock file that is locked while slots are taken and checked. Slots start at 1.
MUTEX = 0


class ValueFile:
    """A file of values, in the format of prometheus_client's `MmapedDict`.

    All of its space is allocated before it is used. On a full disk a write through a memory map
    without space ends the process (SIGBUS), and an allocation raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            # Readers find complete files only.
            new = path.with_suffix(".new")
            allocate(new, FILE_SIZE)
            new.rename(path)
        self.map = allocate(path, FILE_SIZE)
        entries = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        self.positions: dict[str, int] = {key: position for key, _, _, position in entries}
        self.used = struct.unpack_from("i", self.map)[0] or FIRST_ENTRY

    def get(self, key: str) -> Any:
        """Return the two numbers of a value, which is added if it is new: to set them writes them.

        Both are aligned, so that readers of other processes get the old or the new number.
        """
        if key not in self.positions:
            self.add(key)
        position = self.positions[key]
        return memoryview(self.map)[position : position + NUMBERS_SIZE].cast("d")

    def add(self, key: str) -> None:
        """Add a value of 0."""
        text = key.encode()
        padding = b" " * (8 - (len(text) + 4) % 8)
        entry = struct.pack("i", len(text)) + text + padding + bytes(NUMBERS_SIZE)
        if self.used + len(entry) > len(self.map):
            # Numbers in the former map remain valid.
            self.map = allocate(self.path, 2 * len(self.map))
        self.map[self.used : self.used + len(entry)] = entry
        self.used += len(entry)
        self.positions[key] = self.used - NUMBERS_SIZE
        # Last: readers ignore what is behind.
        self.map[:4] = struct.pack("i", self.used)


def allocate(path: Path, size: int) -> mmap:
    """Extend a file with zeros, or create it, and map it to memory."""
    with path.open("a+b", buffering=0) as file:
        missing = size - path.stat().st_size
        if missing > 0 and file.write(bytes(missing)) < missing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return mmap(file.fileno(), 0)


class Value:
    """A number of a metric, in memory and, in a process that shares its metrics, in a file."""

    def __init__(self, kind: str, *key: Any, multiprocess_mode: str = "", **_: Any) -> None:
        """Add a value; prometheus_client passes name, labels and description."""
        self.kind = f"{kind}_{multiprocess_mode}" if multiprocess_mode else kind
        self.key = mmap_key(*key)
        self.numbers: Any = array("d", (0, 0))
        shared_values.add(self)

    def inc(self, amount: float) -> None:
        """Add an amount."""
        with shared_values.lock:
            self.numbers[0] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Replace the value."""
        with shared_values.lock:
            self.numbers[0] = value
            self.numbers[1] = timestamp or 0

    def get(self) -> float:
        """Return the value of this process."""
        value: float = self.numbers[0]
        return value

    def set_exemplar(self, exemplar: Any) -> None:
        """Do nothing: the files have no place for it."""

    def get_exemplar(self) -> None:
        """Return None: there is no exemplar."""


class Histogram(prometheus_client.Histogram):
    """A histogram that is observed in a quarter of the time."""

    def observe(self, amount: float, exemplar: Any = None) -> None:
        """Count an amount in its bucket; values in files have no exemplars."""
        self.add(amount, {bisect_left(self._upper_bounds, amount): 1})

    def observe_all(self, amounts: Collection[float]) -> None:
        """Count amounts in their buckets."""
        # Private: the public method compares with each bucket, locks twice and checks labels.
        bounds = self._upper_bounds
        self.add(sum(amounts), collections.Counter(bisect_left(bounds, one) for one in amounts))

    def add(self, total: float, numbers: Mapping[int, int]) -> None:
        """Add a sum, and the numbers of amounts by the index of their bucket."""
        with shared_values.lock:
            # Private, as above.
            self._sum.numbers[0] += total
            for bucket, number in numbers.items():
                # Private, as above.
                self._buckets[bucket].numbers[0] += number


def get_value(metric: Counter | Gauge) -> Value:
    """Return the value of a metric without labels, or with all of them, to change it quickly."""
    # Private: the public methods check labels each time.
    value: Value = metric._value
    return value


class SharedValues:
    """All values of this process, and the files of its slot."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.values: list[Value] = []
        self.files: dict[str, ValueFile] = {}
        self.folder = Path()
        self.is_started = False
        self.has_warned = False
        self.lock_file = -1
        self.slot = 0
        os.register_at_fork(after_in_child=self.restart)

    def add(self, value: Value) -> None:
        """Add a value of a new metric or of new labels."""
        with self.lock:
            self.values.append(value)
            self.open(value)

    def start(self, folder: Path) -> bool:
        """Share the values from now on, also in forks; return False if this is so already."""
        with self.lock:
            if self.is_started:
                return False
            self.folder, self.is_started = folder, True
            self.take_slot()
            return True

    def restart(self) -> None:
        """Set the state of a forked process: its values are new, and its slot is another one."""
        self.lock = Lock()
        self.files = {}
        self.slot = 0
        for value in self.values:
            value.numbers = array("d", (0, 0))
        if self.is_started:
            self.take_slot()

    def take_slot(self) -> None:
        """Take the lowest free slot until this process ends, and open its files."""
        try:
            if self.lock_file == -1:
                self.lock_file = self.open_lock_file()
            with self.mutex():
                self.slot = next(slot for slot in count(1) if self.try_lock(slot))
                # A gauge of the process that has ended. Counters and histograms go on.
                for path in self.folder.glob(f"gauge_live*_{self.slot}.db"):
                    path.unlink()
        except OSError as error:
            self.warn(error)
        for value in self.values:
            self.open(value)

    def open_lock_file(self) -> int:
        """Return a file in the folder, which is created, and which must belong to this user."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.lstat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(self.folder))
        return os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def open(self, value: Value) -> None:
        """Store a value in a file, and add it to the stored one; without a slot do nothing."""
        if not self.slot:
            return
        try:
            if value.kind not in self.files:
                path = self.folder / f"{value.kind}_{self.slot}.db"
                self.files[value.kind] = ValueFile(path)
            numbers = self.files[value.kind].get(value.key)
            numbers[0] += value.numbers[0]
            value.numbers = numbers
        except Exception as error:  # No request fails because of its metrics.
            self.warn(error)

    def warn(self, error: Exception) -> None:
        """Log that values stay in the memory of this process, once in a process."""
        if not self.has_warned:
            self.has_warned = True
            structlog.get_logger().warning("metrics not stored", error=str(error))

    @contextmanager
    def mutex(self) -> Iterator[None]:
        """Exclude other processes."""
        lockf(self.lock_file, LOCK_EX, 1, MUTEX)
        try:
            yield
        finally:
            lockf(self.lock_file, LOCK_UN, 1, MUTEX)

    def try_lock(self, slot: int) -> bool:
        """Lock a slot; return False if another process has it.

        The kernel releases the lock when this process ends. A fork does not inherit it.
        """
        try:
            lockf(self.lock_file, LOCK_EX | LOCK_NB, 1, slot)
        except BlockingIOError:
            return False
        return True

    def is_in_use(self, slot: int) -> bool:
        """Return whether a running process has a slot."""
        if slot == self.slot:
            return True
        if is_free := self.try_lock(slot):
            lockf(self.lock_file, LOCK_UN, 1, slot)
        return not is_free

    def collect(self) -> Iterable[Metric]:
        """Return the sums of all processes; gauges of running processes only."""
        with self.lock, self.mutex():
            paths = [
                path
                for path in self.folder.glob("*.db")
                if not path.name.startswith("gauge_live")
                or self.is_in_use(int(path.stem.rpartition("_")[2]))
            ]
        merge = MultiProcessCollector.merge
        metrics: Iterable[Metric] = merge(map(str, paths))  # type: ignore[no-untyped-call]
        return metrics


shared_values = SharedValues()
values.ValueClass = Value


def render() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(shared_values if shared_values.slot else REGISTRY)
