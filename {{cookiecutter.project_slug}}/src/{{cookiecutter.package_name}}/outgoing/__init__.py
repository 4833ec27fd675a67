"""Calls to other services: bounded in time and size, and never into our own network."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from random import uniform
from ssl import SSLCertVerificationError
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from flask import Flask, current_app
from structlog.contextvars import get_contextvars

from .connection import Connection
from .targets import RefusedError, Target, UnreachableError, parse_networks

__all__ = ["Answer", "RefusedError", "Target", "UnreachableError", "fetch", "init_app"]

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
REDIRECTS = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 5
# Seconds before a second and a third attempt, at most.
PAUSES = (0.5, 2.0)

# A connection that fails, and an answer that is no HTTP.
FAULTS = (OSError, HTTPException)


class Answer(NamedTuple):
    """What a service said, and the address that said it."""

    url: str
    status: int
    headers: HTTPMessage
    body: bytes


def init_app(app: Flask) -> None:
    """Read which internal networks may be called after all."""
    app.extensions["outgoing"] = parse_networks(app.config["OUTGOING_NETWORKS"])


def fetch(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Call a service, whoever gave its URL.

    Raises `RefusedError` for what may not be called, and `UnreachableError` when no whole answer
    comes in time. An answer of any status is an answer; only reading follows redirects. Your
    headers go to the service that you named, and to no other that it redirects to.
    """
    deadline = time.monotonic() + current_app.config["OUTGOING_TIMEOUT"]
    given = dict(headers or {})
    for _ in range(MAX_REDIRECTS + 1):
        answer = persist(url, method, body, given, deadline)
        location = answer.headers["Location"]
        if answer.status not in REDIRECTS or method not in {"GET", "HEAD"} or not location:
            return answer
        url, previous = urljoin(url, location), url
        if urlsplit(url)[:2] != urlsplit(previous)[:2]:
            given = {}
    raise RefusedError("it redirects too often")


def persist(
    url: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
    deadline: float,
) -> Answer:
    """Send a request again that failed, if it may arrive twice; no two clients at the same time."""
    for pause in PAUSES if method in IDEMPOTENT else ():
        try:
            answer = send(url, method, body, headers, deadline)
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR or is_near(deadline, pause):
                return answer
        except UnreachableError:
            if is_near(deadline, pause):
                raise
        time.sleep(uniform(pause / 2, pause))  # noqa: S311 - it is no secret
    return send(url, method, body, headers, deadline)


def is_near(deadline: float, pause: float) -> bool:
    """Tell whether a pause would take the rest of the time."""
    return time.monotonic() + pause > deadline


def send(
    url: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
    deadline: float,
) -> Answer:
    """Send a request once, and read the answer."""
    target = Target.parse(url, current_app.config["OUTGOING_PORTS"])
    addresses = target.resolve(current_app.extensions["outgoing"])
    own = {"User-Agent": current_app.import_name}
    if request_id := get_contextvars().get("request_id"):
        own["X-Request-ID"] = request_id
    with Connection(target, addresses, deadline) as connection:
        try:
            connection.request(method, target.path, body, {**own, **headers})
            response = connection.getresponse()
            content = connection.read(response, current_app.config["OUTGOING_MAX_BYTES"])
        except SSLCertVerificationError as error:
            raise RefusedError(f"its certificate is not valid: {error.verify_message}") from error
        except FAULTS as error:
            raise UnreachableError(f"{target.host} did not answer: {error!r}") from error
    return Answer(url, response.status, response.headers, content)
