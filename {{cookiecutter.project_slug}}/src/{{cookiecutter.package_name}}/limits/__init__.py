"""Rate limits per client; writing has a tighter one."""

import time

from flask import Flask, request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.exceptions import TooManyRequests

from . import (
    clients,
    # {% if cookiecutter.__cache_server %}
    shared,
    # {% endif %}
)

READING = {"GET", "HEAD", "OPTIONS"}
UNLIMITED = {"health.live", "health.ready", "static"}


def init_app(app: Flask) -> None:
    """Count every request but those of probes and for static files."""
    alone = FixedWindowRateLimiter(MemoryStorage())
    limiters = {"read": alone, "write": alone}
    # {% if cookiecutter.__cache_server %}
    limiters["write"] = shared.make_limiter(app, alone)
    # {% endif %}
    allowed = {
        "read": parse(app.config["RATE_LIMIT"]),
        "write": parse(app.config["RATE_LIMIT_WRITES"]),
    }

    @app.before_request
    def count() -> None:
        if request.endpoint in UNLIMITED:
            return
        kind = "read" if request.method in READING else "write"
        limiter, limit = limiters[kind], allowed[kind]
        client = clients.name(request.remote_addr or "")
        if not limiter.hit(limit, kind, client):
            window = limiter.get_window_stats(limit, kind, client)
            raise TooManyRequests(retry_after=max(1, round(window.reset_time - time.time())))
