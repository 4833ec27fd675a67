"""Calls of a CDN's API, repeated while it is busy."""

# {% if cookiecutter.cdn != "cloudfront" %}
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

MAX_ATTEMPTS = 4
# Seconds.
TIMEOUT = 10
BACKOFF = 0.5
MAX_BACKOFF = 30

RETRY_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
TRANSPORT_ERRORS = (OSError, HTTPException)


# {% else %}
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


# {% endif %}
class PurgeError(Exception):
    """A purge that failed, with the response of the CDN."""


class PurgeCall(NamedTuple):
    """An API call: its description, and the function that sends it."""

    description: str
    send: Callable[[], object]


# {% if cookiecutter.cdn != "cloudfront" %}
class NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: the token is for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that a redirect is an error."""


def send(method: str, url: str, headers: Mapping[str, str], body: object = None) -> None:
    """Send a request, with a JSON body; raise `PurgeError` if all attempts fail."""
    data = None if body is None else msgspec.json.encode(body)
    all_headers = {"Content-Type": "application/json", **headers}
    # The settings allow http and https only.
    request = Request(url, data, all_headers, method=method)  # noqa: S310
    for attempt in range(MAX_ATTEMPTS):
        delay = BACKOFF * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
        try:
            build_opener(NoRedirects).open(request, timeout=TIMEOUT).close()
        except HTTPError as error:
            reason = f"{error.code} {error.read(500).decode(errors='replace')}"
            if error.code not in RETRY_STATUSES:
                break
            retry_after = error.headers.get("Retry-After", "")
            if retry_after.isdecimal():
                delay = min(int(retry_after), MAX_BACKOFF)
        except TRANSPORT_ERRORS as error:
            reason = str(error)
        else:
            return
        if attempt < MAX_ATTEMPTS - 1:
            time.sleep(delay)
    raise PurgeError(f"{method} {url}: {' '.join(reason.split())}")


# {% endif %}
def batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Split a list into batches for one call each."""
    for start in range(0, len(names), size):
        yield names[start : start + size]
