"""Rate limits per client address, counted in this process; writing has a tighter one."""

import time

from flask import Flask, request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.exceptions import TooManyRequests

READING = {"GET", "HEAD", "OPTIONS"}
UNLIMITED = {"health.live", "health.ready", "static"}


def init_app(app: Flask) -> None:
    """Count every request but those of probes and for static files."""
    limiter = FixedWindowRateLimiter(MemoryStorage())
    reads = parse(app.config["RATE_LIMIT"])
    writes = parse(app.config["RATE_LIMIT_WRITES"])

    @app.before_request
    def count() -> None:
        if request.endpoint in UNLIMITED:
            return
        limit = reads if request.method in READING else writes
        client = request.remote_addr or ""
        if not limiter.hit(limit, client):
            window = limiter.get_window_stats(limit, client)
            raise TooManyRequests(retry_after=max(1, round(window.reset_time - time.time())))
