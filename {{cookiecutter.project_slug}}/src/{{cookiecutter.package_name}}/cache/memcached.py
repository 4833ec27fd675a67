"""Memcached, by pymemcache."""

import os
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from pymemcache import (
    Client,
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
)

# What a connection raises that the server has closed: it may have been restarted since.
CLOSED = (MemcacheUnexpectedCloseError, ConnectionError)


class MemcachedBackend:
    """No call waits longer than `timeout` seconds."""

    # The last two are for an answer that makes no sense.
    errors = (MemcacheError, OSError, KeyError, ValueError)
    outages = (MemcacheUnexpectedCloseError, OSError)

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(url)
        self.address = (parts.hostname, parts.port or 11211)
        self.timeouts = {"timeout": timeout, "connect_timeout": timeout, "no_delay": True}
        self.options = {"client_getter": lambda *_: Commands(self)}
        self.free: deque[Any] = deque()
        # Processes cannot share connections.
        os.register_at_fork(after_in_child=self.free.clear)

    def call(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Send a command on a connection that is free, or on a new one."""
        try:
            client = self.free.pop()
        except IndexError:
            client = Client(self.address, default_noreply=False, **self.timeouts)
        try:
            answer = getattr(client, command)(*arguments, **options)
        except CLOSED:
            answer = getattr(client, command)(*arguments, **options)
        except Exception:
            client.close()
            raise
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
        """List all keys that begin so; of an answer this long pymemcache would lose a part.

        `hash` misses none that is in use, as `all` does: memcached's protocol.txt.
        """
        with (
            socket.create_connection(self.address, self.timeouts["timeout"]) as connection,
            connection.makefile("rb") as lines,
        ):
            connection.sendall(b"lru_crawler metadump hash\r\n")
            for line in lines:
                words = line.decode().split()
                if words == ["END"]:
                    return
                if not words[0].startswith("key="):
                    raise MemcacheServerError(line.decode().strip())
                key = unquote(words[0].removeprefix("key="))
                if key.startswith(prefix):
                    yield key
        raise MemcacheUnexpectedCloseError

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


class Commands:
    """A client for the rate limiter, on the connections of the cache."""

    def __init__(self, backend: MemcachedBackend) -> None:
        self.backend = backend

    def __getattr__(self, command: str) -> Callable[..., Any]:
        """Give a command of pymemcache."""
        return partial(self.backend.call, command)
