"""Memcached, through pymemcache."""

import os
import socket
from collections.abc import Collection, Iterator, Sequence
from time import monotonic, sleep
from urllib.parse import unquote

from pymemcache import (
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    PooledClient,
)
from pymemcache.client.retrying import RetryingClient

from ..service_urls import split_server_url

# Errors of an idle connection that the server has closed.
CLOSED = (MemcacheUnexpectedCloseError, ConnectionError)
# It lists every key, including those in use (memcached's protocol.txt).
LIST_KEYS = b"lru_crawler metadump hash\r\n"


class MemcachedBackend:
    """Values on a Memcached server; a call takes at most `timeout` seconds for each attempt."""

    url_form = "memcached://host:port"
    is_shared = True
    # The last two are for a malformed reply.
    errors = (MemcacheError, OSError, KeyError, ValueError)
    connection_errors = (MemcacheUnexpectedCloseError, OSError)

    def __init__(self, url: str, timeout: float, _ca_file: str = "") -> None:
        parts = split_server_url(url)
        if parts.username is not None or parts.path.strip("/") or parts.query:
            raise ValueError(url)
        self.address = (parts.hostname, parts.port or 11211)
        self.timeout = timeout
        pool = PooledClient(
            self.address,
            default_noreply=False,
            timeout=timeout,
            connect_timeout=timeout,
            no_delay=True,
        )
        self.client = RetryingClient(pool, attempts=2, retry_for=CLOSED)
        self.options = {"client_getter": lambda *_: self.client}
        # Processes cannot share connections.
        os.register_at_fork(after_in_child=pool.client_pool.clear)

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        values = self.client.get_many(keys)
        return [values.get(key) for key in keys]

    def set(self, key: str, value: bytes, ttl: int) -> None:
        """Store a value."""
        self.client.set(key, value, ttl)

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        """Store a value unless the key exists; return whether it was stored."""
        return bool(self.client.add(key, value, ttl))

    def delete(self, keys: Collection[str]) -> None:
        """Delete keys."""
        self.client.delete_many(keys)

    def keys(self, prefix: str) -> Iterator[str]:
        """Iterate over all keys with a prefix; pymemcache would truncate a reply this long."""
        deadline = monotonic() + self.timeout
        with (
            socket.create_connection(self.address, self.timeout) as connection,
            connection.makefile("rb") as lines,
        ):
            connection.sendall(LIST_KEYS)
            for line in lines:
                words = line.decode().split()
                if words == ["END"]:
                    return
                if words[0] == "BUSY" and monotonic() < deadline:
                    # From time to time the server looks for expired keys.
                    sleep(0.05)
                    connection.sendall(LIST_KEYS)
                    continue
                if not words[0].startswith("key="):
                    raise MemcacheServerError(line.decode().strip())
                key = unquote(words[0].removeprefix("key="))
                if key.startswith(prefix):
                    yield key
        raise MemcacheUnexpectedCloseError

    def ping(self) -> None:
        """Raise an error if the server is unavailable."""
        self.client.version()
