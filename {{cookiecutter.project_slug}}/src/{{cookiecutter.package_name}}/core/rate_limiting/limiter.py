"""A fixed-window counter for each client."""

import math
import time
from functools import lru_cache
from typing import Protocol

from flask import Response, after_this_request, request
from limits import parse
from werkzeug.exceptions import TooManyRequests

# {% if cookiecutter.__auth %}
from ..auth import audit
# {% endif %}
from . import identity


class CounterStorage(Protocol):
    """Storage for counters."""

    def incr(self, key: str, expiry: int) -> int:
        """Increment a counter that expires after some seconds; return its value."""


class FixedWindowLimiter:
    """A limit whose windows begin at the same time for all clients and in all processes.

    One call of the storage is enough, since the end of the window is known.
    """

    def __init__(self, name: str, text: str) -> None:
        item = parse(text)
        self.name = name
        self.limit = item.amount
        self.seconds = item.get_expiry()
        self.policy = f'"{name}";q={self.limit};w={self.seconds}'

    def hit(self, counters: CounterStorage, key: str = "") -> None:
        """Count the request and add headers to its response; raise 429 above the limit.

        `key` is what has the limit, by default the client.
        """
        count, reset = self.count(counters, key)
        self.add_headers(max(0, self.limit - count), reset)
        if count > self.limit:
            # {% if cookiecutter.__auth %}
            if count == self.limit + 1:
                audit.record("rate_limit_reached", limit=self.policy)
            # {% endif %}
            raise TooManyRequests(retry_after=reset)

    def count(self, counters: CounterStorage, key: str = "") -> tuple[int, int]:
        """Count the request; return the count and the seconds until the window ends."""
        window, passed = divmod(time.time(), self.seconds)
        name = key or identity.client_key(request.remote_addr or "")
        counter = f"{self.name}:{name}:{window:.0f}"
        return counters.incr(counter, self.seconds), math.ceil(self.seconds - passed)

    def add_headers(self, remaining: int, reset: int) -> None:
        """Add headers (draft-ietf-httpapi-ratelimit-headers-10) to a response for one client."""

        @after_this_request
        def add(response: Response) -> Response:
            if "public" not in response.headers.get("Cache-Control", ""):
                response.headers.add("RateLimit-Policy", self.policy)
                response.headers.add("RateLimit", f'"{self.name}";r={remaining};t={reset}')
            return response


@lru_cache(maxsize=1024)
def get_limiter(name: str, text: str) -> FixedWindowLimiter:
    """Return the limiter of a name and a limit such as `10/minute`."""
    return FixedWindowLimiter(name, text)
