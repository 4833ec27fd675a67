"""Redis, or a server that speaks its protocol, by redis-py."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError  # noqa: A004 - its own
from redis.retry import Retry

BATCH = 1000


class RedisBackend:
    """No call waits longer than `timeout` seconds."""

    # The last is for a count that is no number.
    errors = (RedisError, ValueError)
    outages = (ConnectionError, TimeoutError)

    def __init__(self, url: str, timeout: float) -> None:
        self.client = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self.options = {"connection_pool": self.client.connection_pool}
        # For what every request does: redis-py's own pool and commands would take twice the time.
        # An option of the URL that the client does not know fails now, and not at each request.
        self.free: deque[Any] = deque([self.client.connection_pool.make_connection()])
        # Processes cannot share connections.
        os.register_at_fork(after_in_child=self.free.clear)

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        try:
            connection = self.free.pop()
        except IndexError:
            connection = self.client.connection_pool.make_connection()
        try:
            found = read(connection, keys)
        except ConnectionError:
            # The server may have been restarted since.
            found = read(connection, keys)
        self.free.append(connection)
        return found

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value."""
        self.client.set(key, value, ex=lifetime)

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        """Keep a value unless there is one, and tell whether it was kept."""
        return bool(self.client.set(key, value, ex=lifetime, nx=True))

    def delete(self, keys: Collection[str]) -> None:
        """Forget values; the server frees them in the background."""
        rest = list(keys)
        for start in range(0, len(rest), BATCH):
            self.client.unlink(*rest[start : start + BATCH])

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that begin so, without blocking the server."""
        for key in self.client.scan_iter(f"{prefix}*", count=BATCH):
            yield key.decode()

    def describe(self) -> dict[str, Any]:
        """Say what it is and how full."""
        info: dict[str, Any] = cast("dict[str, Any]", self.client.info())
        return {
            "server": f"Redis {info['redis_version']}",
            "memory used": info["used_memory_human"],
            "memory allowed": info["maxmemory_human"] if info["maxmemory"] else "no limit",
            "when full": info.get("maxmemory_policy", "unknown"),
            "evicted keys, all clients": info["evicted_keys"],
            "hits, all clients": info["keyspace_hits"],
            "misses, all clients": info["keyspace_misses"],
        }

    def ping(self) -> None:
        """Raise when it does not answer."""
        self.client.ping()


def read(connection: Any, keys: Sequence[str]) -> list[bytes | None]:
    """Read values on a connection, which is opened if it is not."""
    connection.send_command("MGET", *keys)
    found: list[bytes | None] = connection.read_response()
    if not isinstance(found, list) or len(found) != len(keys):
        raise TypeError("no list of values")
    return found
