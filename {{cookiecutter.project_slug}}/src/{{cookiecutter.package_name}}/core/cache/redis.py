"""Redis, or a server with its protocol, through redis-py."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from ..service_urls import normalize_redis_url

BATCH_SIZE = 1000


class RedisBackend:
    """Values on a Redis server; a call takes at most `timeout` seconds for each attempt."""

    url_form = "redis://user:password@host:port/0 or, with TLS, rediss://…"
    is_shared = True
    # The last is for a counter that is not a number.
    errors = (RedisError, ValueError)
    connection_errors = (ConnectionError, TimeoutError)

    def __init__(self, url: str, timeout: float, ca_file: str = "") -> None:
        self.client: Any = Redis.from_url(
            normalize_redis_url(url, ca_file),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # The server may have closed an idle connection. A timeout is not repeated.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            # With protocol 3 a server under maintenance may lift the timeouts.
            protocol=2,
        )
        pool = self.client.connection_pool
        self.options = {"connection_pool": pool}
        try:
            # Fail now, and not in each request, for an option that the client does not know.
            pool.make_connection()
        except RedisError as error:
            raise ValueError(str(error)) from error

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        values: list[bytes | None] = self.client.mget(keys)
        if not isinstance(values, list) or len(values) != len(keys):
            raise TypeError("the reply to MGET is not a list of values")
        return values

    def set(self, key: str, value: bytes, ttl: int) -> None:
        """Store a value."""
        self.client.set(key, value, ex=ttl)

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        """Store a value unless the key exists; return whether it was stored."""
        return bool(self.client.set(key, value, ex=ttl, nx=True))

    def delete(self, keys: Collection[str]) -> None:
        """Delete keys; the server frees their memory in the background."""
        remaining = list(keys)
        for start in range(0, len(remaining), BATCH_SIZE):
            self.client.unlink(*remaining[start : start + BATCH_SIZE])

    def keys(self, prefix: str) -> Iterator[str]:
        """Iterate over all keys with a prefix, without blocking the server."""
        for key in self.client.scan_iter(f"{prefix}*", count=BATCH_SIZE):
            yield key.decode()

    def ping(self) -> None:
        """Raise an error if the server is unavailable."""
        self.client.ping()
