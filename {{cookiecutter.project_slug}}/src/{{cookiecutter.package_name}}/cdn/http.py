"""Requests to a CDN's interface, repeated while it is busy."""

import random
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from .calls import PurgeError

ATTEMPTS = 4
# Seconds: for an answer, before the second attempt, and at most between two.
TIMEOUT = 10
PAUSE = 0.5
LONGEST_PAUSE = 30

BUSY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
# No connection, or one that breaks.
BROKEN = (OSError, HTTPException)


class NoRedirects(HTTPRedirectHandler):
    """Takes a redirect for a refusal: the token is for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect."""


def send(method: str, url: str, headers: Mapping[str, str], body: object = None) -> None:
    """Send a request, with a body as JSON; raise `PurgeError` when all attempts fail."""
    data = None if body is None else msgspec.json.encode(body)
    all_headers = {"Content-Type": "application/json", **headers}
    # The settings allow no other scheme than http and https.
    request = Request(url, data, all_headers, method=method)  # noqa: S310
    for attempt in range(ATTEMPTS):
        pause = PAUSE * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
        try:
            build_opener(NoRedirects).open(request, timeout=TIMEOUT).close()
        except HTTPError as error:
            fault = f"{error.code} {error.read(500).decode(errors='replace')}"
            if error.code not in BUSY:
                break
            asked = error.headers.get("Retry-After", "")
            pause = min(int(asked), LONGEST_PAUSE) if asked.isdecimal() else pause
        except BROKEN as error:
            fault = str(error)
        else:
            return
        if attempt < ATTEMPTS - 1:
            time.sleep(pause)
    raise PurgeError(f"{method} {url}: {' '.join(fault.split())}")
