"""HTTP client for URLs from clients: limits in time and size, no access to internal networks."""

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

from ...config import RENAMED, get_settings
# {% if cookiecutter.__metrics %}
from .. import monitoring
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from ..monitoring.otlp.outgoing import outgoing_request
# {% endif %}
from .connection import Connection
from .ssrf import BlockedURLError, Limits, Target, UnreachableError, parse_networks

__all__ = ["BlockedURLError", "Response", "Target", "UnreachableError", "fetch", "init_app"]

RENAMED.update(
    OUTGOING_MAX_BYTES="HTTP_CLIENT_MAX_BYTES",
    OUTGOING_NETWORKS="HTTP_CLIENT_ALLOWED_NETWORKS",
    OUTGOING_PORTS="HTTP_CLIENT_ALLOWED_PORTS",
    OUTGOING_TIMEOUT="HTTP_CLIENT_TIMEOUT",
)

IDEMPOTENT_METHODS = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
REDIRECTS = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 5
# The longest delay before the second and the third attempt, in seconds.
BACKOFF = (0.5, 2.0)

# Failed connections, and responses that are not HTTP.
TRANSPORT_ERRORS = (OSError, HTTPException)


class Response(NamedTuple):
    """A response, and the URL that it came from after redirects."""

    url: str
    status: int
    headers: HTTPMessage
    body: bytes


def init_app(app: Flask) -> None:
    """Parse the internal networks that are allowed."""
    networks = parse_networks(get_settings(app).HTTP_CLIENT_ALLOWED_NETWORKS)
    app.extensions["http_client"] = networks


def fetch(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request to a URL, which may come from a client.

    Raise `BlockedURLError` for a URL that is not allowed, and `UnreachableError` if there is no
    complete response in time. A response of any status is returned. Redirects of GET and HEAD are
    followed; another host does not receive the headers.
    """
    settings = get_settings()
    limits = Limits(
        time.monotonic() + settings.HTTP_CLIENT_TIMEOUT,
        settings.HTTP_CLIENT_ALLOWED_PORTS,
        current_app.extensions["http_client"],
    )
    sent_headers = dict(headers or {})
    for _ in range(MAX_REDIRECTS + 1):
        response = send_with_retries(url, method, body, sent_headers, limits)
        location = response.headers["Location"]
        if response.status not in REDIRECTS or method not in {"GET", "HEAD"} or not location:
            return response
        url, previous = urljoin(url, location), url
        if urlsplit(url)[:2] != urlsplit(previous)[:2]:
            sent_headers = {}
    raise BlockedURLError("it redirects too often")


def send_with_retries(
    url: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
    limits: Limits,
) -> Response:
    """Send a request, and retry idempotent methods on 5xx and transport errors, with jitter."""
    for delay in BACKOFF if method in IDEMPOTENT_METHODS else ():
        is_last = time.monotonic() + delay > limits.deadline
        try:
            response = send(url, method, body, headers, limits)
            if response.status < HTTPStatus.INTERNAL_SERVER_ERROR or is_last:
                return response
        except UnreachableError:
            if is_last:
                raise
        time.sleep(uniform(delay / 2, delay))  # noqa: S311 - it is not a secret
    return send(url, method, body, headers, limits)


def send(
    url: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
    limits: Limits,
) -> Response:
    """Send a request once and read the response."""
    target = Target.parse(url, limits.ports)
    addresses = target.resolve(limits.networks, limits.deadline)
    default_headers = {"User-Agent": current_app.import_name}
    if request_id := get_contextvars().get("request_id"):
        default_headers["X-Request-ID"] = request_id
    # {% if cookiecutter.__metrics %}
    status = None
    started = time.monotonic()
    # {% endif %}
    with (
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        outgoing_request(method, target.host, default_headers) as set_status,
        # {% endif %}
        Connection(target, addresses, limits.deadline) as connection,
    ):
        try:
            connection.request(method, target.path, body, {**default_headers, **headers})
            response = connection.getresponse()
            # {% if cookiecutter.monitoring == "opentelemetry" %}
            set_status(response.status)
            # {% endif %}
            content = connection.read(response, get_settings().HTTP_CLIENT_MAX_BYTES)
            # {% if cookiecutter.__metrics %}
            status = response.status
            # {% endif %}
        except SSLCertVerificationError as error:
            message = f"its certificate is invalid: {error.verify_message}"
            raise BlockedURLError(message) from error
        except TRANSPORT_ERRORS as error:
            raise UnreachableError(f"{target.host} did not respond: {error!r}") from error
        # {% if cookiecutter.__metrics %}
        finally:
            monitoring.call_finished(target.host, status, time.monotonic() - started)
        # {% endif %}
    return Response(url, response.status, response.headers, content)
