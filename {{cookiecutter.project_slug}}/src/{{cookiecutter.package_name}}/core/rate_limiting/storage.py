"""Counters on the cache's server, shared by all processes."""

from flask import Flask
from limits.storage import storage_from_string

from ...config import get_settings
from .limiter import CounterStorage


class FallbackStorage:
    """Counts on the server; while that is unavailable each process counts for itself."""

    def __init__(self, app: Flask, local: CounterStorage) -> None:
        self.store = app.extensions["cache"]
        url = get_settings(app).CACHE_URL
        self.shared = storage_from_string(url, **self.store.backend.options)
        self.local = local

    def incr(self, key: str, expiry: int) -> int:
        """Increment a counter, with one call of the server; return its value."""
        name = f"{self.store.prefix}{key}"
        count: int | None = self.store.call(self.shared.incr, name, expiry)
        return self.local.incr(key, expiry) if count is None else count
