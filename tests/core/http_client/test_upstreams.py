import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.access import allow_anonymous
from {{ cookiecutter.package_name }}.core.http_client import (
    UnreachableError,
    upstreams,
)
from {{ cookiecutter.package_name }}.core.http_client.upstreams import call

Logs = Callable[[], list[dict[str, Any]]]
Make = Callable[..., Flask]

CLIENT_ID = "shop 1"
CLIENT_SECRET = "s3cret:ä/+"
FAILURE = "no access token for billing"


class Provider(ThreadingHTTPServer):
    """A token endpoint and a service on loopback, which accepts the tokens that are not revoked."""

    # Requests of many threads wait for `accept`.
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.delay = 0.0
        self.answer: dict[str, Any] = {}
        self.body: bytes | None = None
        self.revoked: set[str] = set()
        self.token_requests: list[tuple[Any, dict[str, list[str]]]] = []
        self.calls: list[tuple[str, str, str, bytes]] = []

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/token":
            self.server.token_requests.append((self.headers, parse_qs(body.decode())))
            time.sleep(self.server.delay)
            answer = {
                "access_token": f"token-{len(self.server.token_requests)}",
                "token_type": "Bearer",
                "expires_in": 3600,
            } | self.server.answer
            self.respond(self.server.status, self.server.body or json.dumps(answer).encode())
        else:
            _, _, token = self.headers["Authorization"].partition("Bearer ")
            self.server.calls.append((self.command, self.path, token, body))
            self.respond(401 if token in self.server.revoked else 200, b"done")

    def do_GET(self) -> None:
        self.do_POST()

    def respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def billing_app(make_app: Make, provider: Provider) -> Flask:
    """Application that calls the provider; no internal network is allowed for URLs of clients."""
    billing = {
        "url": f"{provider.url}/v1",
        "token_url": f"{provider.url}/token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scope": "invoices:read invoices:write",
        "audience": "billing",
    }
    return make_app(UPSTREAMS=json.dumps({"billing": billing}), HTTP_CLIENT_TIMEOUT="2")


@pytest.fixture(autouse=True)
def context(billing_app: Flask) -> Iterator[None]:
    with billing_app.app_context():
        yield


@pytest.fixture
def source(billing_app: Flask) -> upstreams.TokenSource:
    found: upstreams.TokenSource = billing_app.extensions["upstreams"]["billing"]
    return found


def expire(source: upstreams.TokenSource) -> None:
    """Let the token expire, and let the time after a failure pass."""
    source.renewed_at = source.expires_at = source.failed_at = float("-inf")


def test_token_is_requested_once_and_sent(provider: Provider) -> None:
    response = call("billing", "/invoices?paid=1", "POST", b"{}", {"Accept": "text/plain"})
    assert (response.status, response.body) == (200, b"done")
    call("billing", "/invoices")
    assert provider.calls == [
        ("POST", "/v1/invoices?paid=1", "token-1", b"{}"),
        ("GET", "/v1/invoices", "token-1", b""),
    ]
    ((headers, form),) = provider.token_requests
    assert form == {
        "grant_type": ["client_credentials"],
        "scope": ["invoices:read invoices:write"],
        "audience": ["billing"],
    }
    # Both values are encoded before they are joined (RFC 6749, 2.3.1).
    credentials = base64.b64decode(headers["Authorization"].removeprefix("Basic "))
    assert credentials == b"shop+1:s3cret%3A%C3%A4%2F%2B"


@pytest.mark.parametrize("expires_in", [3600, "3600", None])
def test_ttl_of_a_token(
    provider: Provider, source: upstreams.TokenSource, expires_in: object
) -> None:
    provider.answer = {"expires_in": expires_in}
    if expires_in is None:
        provider.body = b'{"access_token": "a", "token_type": "bearer"}'
    call("billing", "/")
    seconds = upstreams.DEFAULT_TTL if expires_in is None else 3600
    assert source.expires_at - source.fetched_at == pytest.approx(seconds)
    assert source.renewed_at - source.fetched_at == pytest.approx(seconds * 0.9)


def test_token_is_renewed_before_it_expires(
    provider: Provider, source: upstreams.TokenSource
) -> None:
    call("billing", "/")
    source.renewed_at = float("-inf")
    call("billing", "/")
    assert [token for _, _, token, _ in provider.calls] == ["token-1", "token-2"]


def test_one_thread_requests_the_token(billing_app: Flask, provider: Provider) -> None:
    provider.delay = 0.2

    def run(_: int) -> int:
        with billing_app.app_context():
            return call("billing", "/").status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(run, range(16))) == {200}
    assert len(provider.token_requests) == 1


def test_old_token_is_used_during_its_renewal(
    provider: Provider, source: upstreams.TokenSource
) -> None:
    call("billing", "/")
    source.renewed_at = float("-inf")
    with source.lock:
        assert call("billing", "/").status == 200
    assert len(provider.token_requests) == 1
    # It is also used if the renewal fails.
    provider.status = 500
    assert call("billing", "/").status == 200
    assert [token for _, _, token, _ in provider.calls] == ["token-1"] * 3


def test_rejected_token_is_replaced_once(
    provider: Provider, source: upstreams.TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("billing", "/")
    provider.revoked = {"token-1"}
    source.fetched_at = float("-inf")
    assert call("billing", "/invoices", "POST", b"{}").status == 200
    assert [token for _, _, token, _ in provider.calls] == ["token-1", "token-1", "token-2"]
    # A token that is new and rejected shows that another one does not help.
    provider.revoked = {"token-2"}
    assert [call("billing", "/").status for _ in range(3)] == [401] * 3
    assert len(provider.token_requests) == 2
    monkeypatch.setattr(upstreams, "RETRY_AFTER", 0)
    provider.revoked = {"token-2", "token-3"}
    assert call("billing", "/").status == 401
    assert len(provider.token_requests) == 3


def test_threads_replace_a_rejected_token_once(
    billing_app: Flask, provider: Provider, source: upstreams.TokenSource
) -> None:
    call("billing", "/")
    provider.revoked = {"token-1"}
    provider.delay = 0.2
    source.fetched_at = float("-inf")

    def run(_: int) -> int:
        with billing_app.app_context():
            return call("billing", "/").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(8))) == {200}
    assert len(provider.token_requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"s3cret", "status 500"),
        (400, b'{"error": "invalid_client"}', "status 400, invalid_client"),
        (401, b'{"error": "s3cret s3cret"}', "status 401, no error code"),
        (200, b"<html>s3cret", "JSON is malformed"),
        (200, b"\xff", "JSON is malformed"),
        (200, b'["s3cret"]', "Expected `object`"),
        (200, b'{"token_type": "Bearer"}', "status 200, no error code"),
        (200, b'{"access_token": "s3\\ncret", "token_type": "Bearer"}', "no error code"),
        (200, b'{"access_token": "s3cret", "token_type": "mac"}', "not Bearer"),
        (302, b"{}", "status 302, no error code"),
    ],
)
def test_failure_of_the_token_endpoint(
    provider: Provider, read_logs: Logs, status: int, body: bytes, reason: str
) -> None:
    provider.status, provider.body = status, body
    # The second call does not send a request: the first one has just failed.
    for _ in range(2):
        with pytest.raises(UnreachableError, match=FAILURE):
            call("billing", "/")
    assert (len(provider.token_requests), provider.calls) == (1, [])
    (line,) = read_logs()
    assert (line["event"], line["level"], line["upstream"]) == (
        "access token not fetched",
        "error",
        "billing",
    )
    assert reason in line["error"]
    assert "s3" not in json.dumps(line)


def test_recovery_after_a_failure(provider: Provider, source: upstreams.TokenSource) -> None:
    provider.status = 500
    with pytest.raises(UnreachableError):
        call("billing", "/")
    provider.status = 200
    expire(source)
    assert call("billing", "/").status == 200


def test_slow_token_endpoint_ends_at_the_deadline(billing_app: Flask, provider: Provider) -> None:
    provider.delay = 3

    def run(_: int) -> bool:
        with billing_app.app_context(), pytest.raises(UnreachableError, match=FAILURE):
            call("billing", "/")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))
    # The threads do not wait one after the other.
    assert len(provider.token_requests) == 1


def test_view_responds_with_503(billing_app: Flask, provider: Provider) -> None:
    provider.status = 500

    @billing_app.get("/invoices")
    @allow_anonymous
    def list_invoices() -> bytes:
        return call("billing", "/invoices").body

    response = billing_app.test_client().get("/invoices")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.content_type == "application/problem+json"
    assert "127.0.0.1" not in response.text


def test_secrets_are_not_logged(read_logs: Logs, provider: Provider) -> None:
    provider.revoked = {"token-1"}
    call("billing", "/")
    provider.server_close()
    with pytest.raises(UnreachableError):
        call("billing", "/")
    logs = json.dumps(read_logs())
    assert "token-1" not in logs
    assert "s3cret" not in logs


def test_redirects_are_not_followed(
    http_server: Any, make_app: Make, start_server: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start_server() as other:
        token = json.dumps({"access_token": "a", "token_type": "Bearer"}).encode()
        http_server.respond(token)
        http_server.respond(status=302, Location=other.url)
        billing = {"url": http_server.url, "token_url": http_server.url}
        billing |= {"client_id": "a", "client_secret": "b"}
        with make_app(UPSTREAMS=json.dumps({"billing": billing})).app_context():
            assert call("billing", "/").status == 302
        assert other.requests == []


def test_mistakes_of_the_caller_are_named() -> None:
    with pytest.raises(LookupError, match="UPSTREAMS has no service 'shipping'"):
        call("shipping", "/")
    with pytest.raises(ValueError, match=r"a path starts with a slash: '@evil\.example'"):
        call("billing", "@evil.example")


@pytest.mark.parametrize(
    "change",
    [
        {"url": "billing.example.com"},
        {"url": "https://billing.example.com/"},
        {"token_url": "https://user:password@login.example.com"},
        {"client_secret": None},
        {"secret": "s3cret"},
    ],
)
def test_malformed_upstreams_are_rejected(change: dict[str, Any]) -> None:
    billing = {
        "url": "https://billing.example.com",
        "token_url": "https://login.example.com/token",
        "client_id": "shop",
        "client_secret": "s3cret",
    }
    load_settings({"FLASK_TESTING": "1", "UPSTREAMS": json.dumps({"billing": billing})})
    text = json.dumps({"billing": billing | change})
    with pytest.raises(SettingsError) as caught:
        load_settings({"FLASK_TESTING": "1", "UPSTREAMS": text})
    assert "UPSTREAMS: expected a JSON object as .env.example shows it" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "user:password" not in str(caught.value)
