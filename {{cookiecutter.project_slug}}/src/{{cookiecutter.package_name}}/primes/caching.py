"""What of the example is kept in the cache."""

from flask import Flask

from ..cache import keep_view


def init_app(app: Flask) -> None:
    """Keep what takes a while: it never changes, so nothing makes it be forgotten."""
    keep_view(app, "primes.count_primes")
