"""The memory of this process: for development and tests."""

import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from threading import Lock
from typing import Any

SIZE = 1000


class MemoryBackend:
    """Keeps the values that were used last."""

    errors: tuple[type[Exception], ...] = ()
    outages: tuple[type[Exception], ...] = ()

    def __init__(self, *_: object) -> None:
        self.values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.lock = Lock()
        self.options: dict[str, Any] = {}

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        with self.lock:
            return [self.find(key) for key in keys]

    def find(self, key: str) -> bytes | None:
        """Return a value that still lives."""
        ends, value = self.values.get(key, (0.0, b""))
        if ends < time.monotonic():
            return None
        self.values.move_to_end(key)
        return value

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value."""
        with self.lock:
            self.put(key, value, lifetime)

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        """Keep a value unless there is one, and tell whether it was kept."""
        with self.lock:
            is_free = self.find(key) is None
            if is_free:
                self.put(key, value, lifetime)
            return is_free

    def put(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value, and drop the one that was not used for the longest time."""
        self.values[key] = (time.monotonic() + lifetime, value)
        self.values.move_to_end(key)
        if len(self.values) > SIZE:
            self.values.popitem(last=False)

    def delete(self, keys: Collection[str]) -> None:
        """Forget values."""
        with self.lock:
            for key in keys:
                self.values.pop(key, None)

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that begin so."""
        return (key for key in list(self.values) if key.startswith(prefix))

    def describe(self) -> dict[str, Any]:
        """Say what it is and how full."""
        return {"server": "none: the memory of this process", "most keys": SIZE}

    def ping(self) -> None:
        """Answer always."""
