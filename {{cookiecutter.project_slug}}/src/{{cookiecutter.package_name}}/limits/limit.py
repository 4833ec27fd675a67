"""So many requests in so much time, counted for each client."""

import math
import time
from typing import Protocol

from flask import Response, after_this_request, request
from limits import parse
from werkzeug.exceptions import TooManyRequests

from . import clients


class Counts(Protocol):
    """Where is counted."""

    def incr(self, key: str, expiry: int) -> int:
        """Count one more under a key, which lives so many seconds; return how many it were."""


class Limit:
    """A limit, with windows of time that all processes and clients share.

    So one call counts and tells the rest, and no second one has to ask when the window ends.
    """

    def __init__(self, name: str, text: str, counts: Counts) -> None:
        item = parse(text)
        self.name = name
        self.amount = item.amount
        self.seconds = item.get_expiry()
        self.counts = counts
        self.policy = f'"{name}";q={self.amount};w={self.seconds}'

    def spend(self) -> None:
        """Count the request; its answer says what is left, and is 429 when nothing was."""
        count, reset = self.count()
        self.tell(max(0, self.amount - count), reset)
        if count > self.amount:
            raise TooManyRequests(retry_after=reset)

    def count(self) -> tuple[int, int]:
        """Count the request; return how many it were, and after how many seconds they end."""
        window, passed = divmod(time.time(), self.seconds)
        key = f"{self.name}:{clients.name(request.remote_addr or '')}:{window:.0f}"
        return self.counts.incr(key, self.seconds), math.ceil(self.seconds - passed)

    def tell(self, left: int, reset: int) -> None:
        """Tell the client (draft-ietf-httpapi-ratelimit-headers-10), if the answer is its alone."""

        @after_this_request
        def add(response: Response) -> Response:
            if "public" not in response.headers.get("Cache-Control", ""):
                response.headers.add("RateLimit-Policy", self.policy)
                response.headers.add("RateLimit", f'"{self.name}";r={left};t={reset}')
            return response
