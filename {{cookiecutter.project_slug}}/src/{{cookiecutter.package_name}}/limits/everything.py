"""A limit on all requests of a client, for there is no proxy that has one."""

from flask import Flask, request
from werkzeug.exceptions import TooManyRequests

from .limit import Counts, Limit

UNLIMITED = {"health.live", "health.ready"}


def init_app(app: Flask, counts: Counts) -> None:
    """Count every request but those of probes and for static files.

    Each process counts alone, so that a request pays microseconds, not a way to a server.
    """
    limit = Limit("requests", app.config["RATE_LIMIT"], counts)

    @app.before_request
    def count_requests() -> None:
        endpoint = request.endpoint or ""
        if endpoint in UNLIMITED or endpoint.endswith("static"):
            return
        count, reset = limit.count()
        if count > limit.amount:
            limit.tell(0, reset)
            raise TooManyRequests(retry_after=reset)
