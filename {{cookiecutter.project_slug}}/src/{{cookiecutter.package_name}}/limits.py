"""Rate limits per client, counted in this process; writing has a tighter one."""

import time
from functools import lru_cache
from ipaddress import IPv6Network

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
        is_reading = request.method in READING
        limit = reads if is_reading else writes
        key = ("read" if is_reading else "write", name_client(request.remote_addr or ""))
        if not limiter.hit(limit, *key):
            window = limiter.get_window_stats(limit, *key)
            raise TooManyRequests(retry_after=max(1, round(window.reset_time - time.time())))


@lru_cache(maxsize=4096)
def name_client(address: str) -> str:
    """Take an address for a client: without a port, and of IPv6 the /64, which one client owns."""
    if address.count(":") == 1 or address.startswith("["):
        address = address.rpartition(":")[0].strip("[]")
    if ":" not in address:
        return address
    try:
        return str(IPv6Network((address, 64), strict=False))
    except ValueError:
        return address
