"""Counts that all processes share, on the cache's server; while it is away each counts alone."""

from flask import Flask
from limits.storage import storage_from_string

from .limit import Counts


class SharedCounts:
    """Asks the server as the cache does: in bounded time, and not again right after it failed."""

    def __init__(self, app: Flask, alone: Counts) -> None:
        self.store = app.extensions["cache"]
        self.storage = storage_from_string(app.config["CACHE_URL"], **self.store.backend.options)
        self.alone = alone

    def incr(self, key: str, expiry: int) -> int:
        """Count one more, with one call of the server."""
        name = f"{self.store.prefix}{key}"
        count: int | None = self.store.ask(self.storage.incr, name, expiry)
        return self.alone.incr(key, expiry) if count is None else count
