"""A limit for all requests of a client, since no reverse proxy has one."""

from wsgiref.types import WSGIEnvironment

from flask import Flask, request
from werkzeug.exceptions import TooManyRequests

from ...config import get_settings
from .. import hooks
from .limiter import CounterStorage, FixedWindowLimiter

UNLIMITED = {"health.live", "health.ready"}


def init_app(app: Flask, counters: CounterStorage) -> None:
    """Limit all requests except probes and those for static files.

    Each process counts for itself, which takes microseconds instead of a round trip.
    """
    limiter = FixedWindowLimiter("requests", get_settings(app).RATE_LIMIT)

    def limit_requests(_: WSGIEnvironment) -> None:
        endpoint = request.endpoint or ""
        if endpoint in UNLIMITED or endpoint.endswith("static"):
            return
        count, reset = limiter.count(counters)
        if count > limiter.limit:
            limiter.add_headers(0, reset)
            raise TooManyRequests(retry_after=reset)

    hooks.before_request(app, limit_requests)
