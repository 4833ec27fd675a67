"""Memcached, by pymemcache."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from pymemcache import Client, MemcacheError, MemcacheUnexpectedCloseError

# What a connection raises that the server has closed: it may have been restarted since.
CLOSED = (MemcacheUnexpectedCloseError, ConnectionError)


class MemcachedBackend:
    """No call waits longer than `timeout` seconds."""

    errors = (MemcacheError, OSError)
    outages = (MemcacheUnexpectedCloseError, OSError)

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(url)
        self.address = (parts.hostname, parts.port or 11211)
        self.options = {"timeout": timeout, "connect_timeout": timeout, "no_delay": True}
        self.free: deque[Any] = deque()
        # Processes cannot share connections.
        os.register_at_fork(after_in_child=self.free.clear)

    def call(self, command: str, *arguments: Any) -> Any:
        """Send a command on a connection that is free, or on a new one."""
        try:
            client = self.free.pop()
        except IndexError:
            client = Client(self.address, default_noreply=False, **self.options)
        try:
            answer = getattr(client, command)(*arguments)
        except CLOSED:
            answer = getattr(client, command)(*arguments)
        self.free.append(client)
        return answer

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        found = self.call("get_many", keys)
        return [found.get(key) for key in keys]

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value."""
        self.call("set", key, value, lifetime)

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        """Keep a value unless there is one, and tell whether it was kept."""
        return bool(self.call("add", key, value, lifetime))

    def delete(self, keys: Collection[str]) -> None:
        """Forget values."""
        self.call("delete_many", keys)

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that begin so; the server makes the list in the background."""
        for line in self.call("raw_command", "lru_crawler metadump all", "END\r\n").splitlines():
            key = unquote(line.decode().partition(" ")[0].removeprefix("key="))
            if key.startswith(prefix):
                yield key

    def describe(self) -> dict[str, Any]:
        """Say what it is and how full."""
        stats = {name.decode(): value for name, value in self.call("stats").items()}
        return {
            "server": f"Memcached {stats['version'].decode()}",
            "memory used": stats["bytes"],
            "memory allowed": stats["limit_maxbytes"],
            "evicted keys, all clients": stats["evictions"],
            "hits, all clients": stats["get_hits"],
            "misses, all clients": stats["get_misses"],
        }

    def ping(self) -> None:
        """Raise when it does not answer."""
        self.call("version")
