"""The memory of the process, for development and tests."""

import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from threading import Lock
from typing import Any

MAX_ENTRIES = 1000


class MemoryBackend:
    """An LRU cache."""

    url_form = "memory://"
    is_shared = False
    errors: tuple[type[Exception], ...] = ()
    connection_errors: tuple[type[Exception], ...] = ()

    def __init__(self, *_: object) -> None:
        self.values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.lock = Lock()
        self.options: dict[str, Any] = {}

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        with self.lock:
            return [self._get(key) for key in keys]

    def _get(self, key: str) -> bytes | None:
        expires, value = self.values.get(key, (0.0, b""))
        if expires < time.monotonic():
            return None
        self.values.move_to_end(key)
        return value

    def set(self, key: str, value: bytes, ttl: int) -> None:
        """Store a value; evict the least recently used one if there are too many."""
        with self.lock:
            self._set(key, value, ttl)

    def _set(self, key: str, value: bytes, ttl: int) -> None:
        self.values[key] = (time.monotonic() + ttl, value)
        self.values.move_to_end(key)
        if len(self.values) > MAX_ENTRIES:
            self.values.popitem(last=False)

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        """Store a value unless the key exists; return whether it was stored."""
        with self.lock:
            is_missing = self._get(key) is None
            if is_missing:
                self._set(key, value, ttl)
            return is_missing

    def delete(self, keys: Collection[str]) -> None:
        """Delete keys."""
        with self.lock:
            for key in keys:
                self.values.pop(key, None)

    def keys(self, prefix: str) -> Iterator[str]:
        """Iterate over all keys with a prefix."""
        return (key for key in list(self.values) if key.startswith(prefix))

    def ping(self) -> None:
        """Do nothing: memory is always available."""
