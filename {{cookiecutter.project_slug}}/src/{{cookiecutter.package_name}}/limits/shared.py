"""Counts that all processes share, on the cache's server; while it is away each counts alone."""

from functools import partial

from flask import Flask
from limits import RateLimitItem
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter
from limits.util import WindowStats

from ..cache.store import Store


class SharedLimiter(FixedWindowRateLimiter):
    """Asks the server as the cache does: in bounded time, and not again right after it failed."""

    def __init__(self, store: Store, url: str, alone: FixedWindowRateLimiter) -> None:
        super().__init__(storage_from_string(url, **store.backend.options))
        self.store = store
        self.alone = alone

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Count a request, and tell whether it is within the limit."""
        names = (self.store.prefix, *identifiers)
        is_within: bool | None = self.store.ask(partial(super().hit, item, *names, cost=cost))
        return self.alone.hit(item, *identifiers, cost=cost) if is_within is None else is_within

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """Tell when the window ends, and how many requests it has left."""
        names = (self.store.prefix, *identifiers)
        window: WindowStats | None = self.store.ask(super().get_window_stats, item, *names)
        return window or self.alone.get_window_stats(item, *identifiers)


def make_limiter(app: Flask, alone: FixedWindowRateLimiter) -> SharedLimiter:
    """Count on the server that CACHE_URL names."""
    return SharedLimiter(app.extensions["cache"], app.config["CACHE_URL"], alone)
