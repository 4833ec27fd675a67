"""Calls of the services in UPSTREAMS, with tokens for client credentials (RFC 6749, 4.4)."""

import re
import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_network
from threading import Lock
from typing import Any
# {% if cookiecutter.__monitoring %}
from urllib.parse import quote_plus, urlencode, urlsplit
# {% else %}
from urllib.parse import quote_plus, urlencode
# {% endif %}

import msgspec
import structlog
from flask import Flask, current_app
from msgspec import Struct
from werkzeug.exceptions import ServiceUnavailable

from ...config import Upstream, get_settings
from ..errors import handle_http_exception
# {% if cookiecutter.__monitoring %}
from ..monitoring.conventions import name_hosts
# {% endif %}
from . import Response, send, send_with_retries
from .ssrf import BlockedURLError, Limits, UnreachableError

# A token is renewed after this share of its TTL, while the old one is still valid.
RENEWAL_SHARE = 0.9
# The TTL of a token whose response names none, in seconds.
DEFAULT_TTL = 60
# Seconds without another request after a failure, and after a new token was rejected, too.
RETRY_AFTER = 5

# The addresses in UPSTREAMS come from the operator, so they may be internal.
ANY_PORT = range(1, 2**16)
ANY_NETWORK = [ip_network("0.0.0.0/0"), ip_network("::/0")]

FETCH_ERRORS = (BlockedURLError, UnreachableError, msgspec.DecodeError, UnicodeDecodeError)
# An access token (RFC 6749, A.12), and an error code (RFC 6749, 5.2); other texts are not logged.
TOKEN = re.compile(r"[!-~]+\Z")
ERROR_CODE = re.compile(r"[a-z_]{1,40}\Z")


class TokenResponse(Struct):
    """The response of a token endpoint (RFC 6749, 5.1 and 5.2)."""

    access_token: str = ""
    token_type: str = ""
    expires_in: float = DEFAULT_TTL
    error: str = ""


class TokenSource:
    """The access token of an upstream, for all threads of the process."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self.upstream = upstream
        self.lock = Lock()
        self.token = ""
        self.fetched_at = self.renewed_at = self.expires_at = self.failed_at = float("-inf")

    def get(self, deadline: float, rejected: str = "") -> str:
        """Return a token; after the upstream has rejected one, a new one if that may help.

        One thread fetches it. The others use the old token, or wait until `deadline` if that is
        not valid. Raise `UnreachableError` if there is no token.
        """
        now = time.monotonic()
        has_valid_token = self.token != rejected and now < self.expires_at
        if has_valid_token and now < self.renewed_at:
            return self.token
        if self.lock.acquire(timeout=0 if has_valid_token else max(0, deadline - now)):
            try:
                self.renew(deadline, rejected)
            finally:
                self.lock.release()
        if time.monotonic() < self.expires_at:
            return self.token
        raise UnreachableError(f"no access token for {self.name}")

    def renew(self, deadline: float, rejected: str) -> None:
        """Fetch a token unless another thread has done so, or a request has just failed."""
        now = time.monotonic()
        was_rejected = rejected != "" and rejected == self.token
        last_attempt = max(self.failed_at, self.fetched_at if was_rejected else self.failed_at)
        if (now < self.renewed_at and not was_rejected) or now - last_attempt < RETRY_AFTER:
            return
        try:
            token = self.fetch(deadline)
        except FETCH_ERRORS as error:
            self.failed_at = time.monotonic()
            structlog.get_logger().error(
                "access token not fetched", upstream=self.name, error=str(error)
            )
            return
        self.token = token.access_token
        self.fetched_at = now
        self.renewed_at = now + token.expires_in * RENEWAL_SHARE
        self.expires_at = now + token.expires_in

    def fetch(self, deadline: float) -> TokenResponse:
        """Request a token; raise one of `FETCH_ERRORS` if the response has none."""
        upstream = self.upstream
        form = {"grant_type": "client_credentials"}
        form |= {"scope": upstream.scope} if upstream.scope else {}
        form |= {"audience": upstream.audience} if upstream.audience else {}
        # Section 2.3.1: both are encoded before they are joined.
        client = f"{quote_plus(upstream.client_id)}:{quote_plus(upstream.client_secret)}"
        headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {b64encode(client.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        limits = Limits(deadline, ANY_PORT, ANY_NETWORK)
        response = send(upstream.token_url, "POST", urlencode(form).encode(), headers, limits)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnreachableError(f"status {response.status}")
        token = msgspec.json.decode(response.body, type=TokenResponse, strict=False)
        if response.status != HTTPStatus.OK or not TOKEN.match(token.access_token):
            code = token.error if ERROR_CODE.match(token.error) else "no error code"
            raise UnreachableError(f"status {response.status}, {code}")
        if token.token_type.lower() != "bearer":
            raise UnreachableError("the type of the token is not Bearer")
        return token


def init_app(app: Flask) -> None:
    """Prepare the tokens of UPSTREAMS, and respond with 503 if an upstream is unreachable."""
    app.extensions["upstreams"] = {
        name: TokenSource(name, upstream) for name, upstream in get_settings(app).UPSTREAMS.items()
    }
    # {% if cookiecutter.__monitoring %}
    upstreams = get_settings(app).UPSTREAMS.values()
    name_hosts(
        urlsplit(url).hostname or ""
        for upstream in upstreams
        for url in (upstream.url, upstream.token_url)
    )
    # {% endif %}
    app.register_error_handler(UnreachableError, handle_unreachable)


def handle_unreachable(error: UnreachableError) -> Any:
    """Return the response of a view that could not call an upstream."""
    structlog.get_logger().warning("service unreachable", error=str(error))
    message = "A service that this one calls is unavailable."
    return handle_http_exception(ServiceUnavailable(message, retry_after=RETRY_AFTER))


def call(
    name: str,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request to a service in UPSTREAMS, with an access token.

    `path` starts with a slash and follows the URL of the service. If the service rejects the
    token, the request is sent again with a new one. A response of any status is returned; redirects
    are not followed. All of it takes HTTP_CLIENT_TIMEOUT at most. Raise `UnreachableError` without
    a token or a complete response, which is 503 for the client of a view.
    """
    source: TokenSource | None = current_app.extensions["upstreams"].get(name)
    if source is None:
        raise LookupError(f"UPSTREAMS has no service {name!r}")
    if not path.startswith("/"):
        raise ValueError(f"a path starts with a slash: {path!r}")
    deadline = time.monotonic() + get_settings().HTTP_CLIENT_TIMEOUT
    limits = Limits(deadline, ANY_PORT, ANY_NETWORK)
    url = source.upstream.url + path

    def send_with(token: str) -> Response:
        sent_headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
        return send_with_retries(url, method, body, sent_headers, limits)

    token = source.get(deadline)
    response = send_with(token)
    if response.status == HTTPStatus.UNAUTHORIZED:
        new_token = source.get(deadline, rejected=token)
        if new_token != token:
            response = send_with(new_token)
    return response
