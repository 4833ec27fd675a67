import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ssl import SSLContext
from threading import Event
from typing import Any

import pytest
from flask import Flask
from msgspec.structs import replace
from structlog.contextvars import bound_contextvars, clear_contextvars

from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core import http_client
from {{ cookiecutter.package_name }}.core.http_client import (
    BlockedURLError,
    Target,
    UnreachableError,
    connection,
    fetch,
)

Serve = Callable[..., AbstractContextManager[Any]]


def change_settings(app: Flask, **changes: Any) -> None:
    app.extensions["settings"] = replace(get_settings(app), **changes)


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without delay."""
    monkeypatch.setattr(http_client, "BACKOFF", (0.0, 0.0))


@pytest.fixture(autouse=True)
def context(http_client_app: Flask) -> Iterator[None]:
    """The settings of an application that may send requests to the server."""
    with http_client_app.app_context():
        yield


def test_request_and_response(http_server: Any) -> None:
    http_server.respond(b"created", status=201, X_Kind="test")
    with bound_contextvars(request_id="request-0001"):
        response = fetch(f"{http_server.url}/pens?id=1", "POST", b"pen", {"Accept": "text/plain"})
    assert (response.status, response.body, response.headers["X-Kind"]) == (201, b"created", "test")
    (request,) = http_server.requests
    assert (request.method, request.path, request.body) == ("POST", "/pens?id=1", b"pen")
    assert request.headers["Host"] == http_server.address
    assert request.headers["Accept"] == "text/plain"
    assert request.headers["X-Request-ID"] == "request-0001"


def test_request_id_is_omitted_outside_of_requests(http_server: Any) -> None:
    clear_contextvars()
    http_server.respond()
    fetch(http_server.url)
    assert "X-Request-ID" not in http_server.requests[0].headers


def test_5xx_is_retried(http_server: Any) -> None:
    http_server.respond(status=500)
    http_server.responses.append([b"no HTTP\r\n\r\n"])
    http_server.respond(b"at last")
    assert fetch(http_server.url).body == b"at last"
    assert len(http_server.requests) == 3


def test_third_5xx_is_returned(http_server: Any) -> None:
    http_server.respond(status=503)
    assert fetch(http_server.url).status == 503
    assert len(http_server.requests) == 3


def test_no_retry_after_the_deadline(http_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF", (20.0,))
    http_server.respond(status=503)
    assert fetch(http_server.url).status == 503
    http_server.responses[0] = []
    with pytest.raises(UnreachableError, match="did not respond"):
        fetch(http_server.url)
    assert len(http_server.requests) == 2


def test_post_is_not_retried(http_server: Any) -> None:
    http_server.respond(status=503)
    assert fetch(http_server.url, "POST").status == 503
    assert len(http_server.requests) == 1


def test_failed_connection_is_unreachable(http_server: Any) -> None:
    http_server.responses.append([])
    with pytest.raises(UnreachableError, match="did not respond"):
        fetch(http_server.url)
    http_server.shutdown()
    http_server.server_close()
    with pytest.raises(UnreachableError, match="refused"):
        fetch(http_server.url)


@pytest.mark.parametrize("length", [{}, {"Content_Length": 2**40}])
def test_large_response_is_rejected(
    http_client_app: Flask, http_server: Any, length: dict[str, Any]
) -> None:
    change_settings(http_client_app, HTTP_CLIENT_MAX_BYTES=100_000)
    http_server.respond(**length)
    http_server.responses[0] = itertools.chain(
        http_server.responses[0], itertools.repeat(b"x" * 10_000)
    )
    with pytest.raises(BlockedURLError, match="larger than 100000 bytes"):
        fetch(http_server.url)


def test_incomplete_response_is_unreachable(http_server: Any) -> None:
    http_server.respond(b"half", Content_Length=8)
    with pytest.raises(UnreachableError, match="incomplete"):
        fetch(http_server.url)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_slow_response_ends_at_the_timeout(
    http_client_app: Flask, http_server: Any, head: bytes
) -> None:
    change_settings(http_client_app, HTTP_CLIENT_TIMEOUT=0.5)
    closed = Event()

    def drip() -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield b"x"
            if closed.wait(0.05):
                return

    http_server.responses.append(drip())
    began = time.monotonic()
    try:
        with pytest.raises(UnreachableError):
            fetch(http_server.url)
        assert time.monotonic() - began < 3
    finally:
        closed.set()


def test_no_request_after_the_deadline(http_client_app: Flask, http_server: Any) -> None:
    change_settings(http_client_app, HTTP_CLIENT_TIMEOUT=-1.0)
    with pytest.raises(UnreachableError, match="timed out"):
        fetch(http_server.url)
    assert not http_server.requests
    # The lookup of the host may have taken all of the time.
    target = Target("http", "127.0.0.1", 80, "/")
    call = connection.Connection(target, ["127.0.0.1"], deadline=time.monotonic())
    with pytest.raises(UnreachableError, match="timed out"):
        call.connect()


def test_redirects_are_followed(http_server: Any) -> None:
    http_server.respond(status=302, Location="/next")
    http_server.respond(status=308, Location=f"{http_server.url}/last")
    http_server.respond(b"there")
    response = fetch(http_server.url, headers={"Authorization": "Bearer token"})
    assert (response.url, response.body) == (f"{http_server.url}/last", b"there")
    assert [request.headers["Authorization"] for request in http_server.requests] == [
        "Bearer token"
    ] * 3


def test_redirect_to_another_host_drops_headers(http_server: Any) -> None:
    http_server.respond(status=302, Location=http_server.url.replace("127.0.0.1", "127.1"))
    http_server.respond(b"there")
    assert fetch(http_server.url, headers={"Authorization": "Bearer token"}).body == b"there"
    assert [request.headers["Authorization"] for request in http_server.requests] == [
        "Bearer token",
        None,
    ]


def test_redirect_to_an_internal_address_is_blocked(start_server: Serve, http_server: Any) -> None:
    with start_server("127.0.0.2") as internal:
        internal.respond(b"secret")
        for url in (
            f"http://127.0.0.2:{http_server.port}",
            "http://169.254.169.254",
            "file:///etc",
        ):
            http_server.responses.clear()
            http_server.respond(status=302, Location=url)
            with pytest.raises(BlockedURLError, match=r"no public address|does not start"):
                fetch(http_server.url)
        assert not internal.requests


def test_redirect_loop_ends(http_server: Any) -> None:
    http_server.respond(status=302, Location="/again")
    with pytest.raises(BlockedURLError, match="too often"):
        fetch(http_server.url)
    assert len(http_server.requests) == 6


def test_post_is_not_redirected(http_server: Any) -> None:
    http_server.respond(status=302, Location="/next")
    assert fetch(http_server.url, "POST").status == 302


def test_redirect_without_location_is_returned(http_server: Any) -> None:
    http_server.respond(status=302)
    assert fetch(http_server.url).status == 302


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The IP addresses of host names, one for each lookup."""
    addresses_by_host: dict[str, list[str]] = {}
    lookup = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        addresses = addresses_by_host.get(host)
        return lookup(addresses.pop(0) if addresses else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return addresses_by_host


def test_dns_rebinding_does_not_change_the_address(
    start_server: Serve,
    http_server: Any,
    names: dict[str, list[str]],
) -> None:
    names["rebound.test"] = ["127.0.0.1", "127.0.0.2"]
    with start_server("127.0.0.2") as internal:
        internal.respond(b"secret")
        http_server.respond(b"public")
        assert fetch(f"http://rebound.test:{http_server.port}").body == b"public"
    assert http_server.requests[0].headers["Host"] == f"rebound.test:{http_server.port}"
    assert names["rebound.test"] == ["127.0.0.2"]


def test_next_address_is_tried(http_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    http_server.respond(b"there")
    found = ["127.0.0.9", "127.0.0.1"]
    monkeypatch.setattr(http_client.Target, "resolve", lambda *_: found)
    assert fetch(http_server.url).body == b"there"
    found.reverse()
    assert fetch(http_server.url).body == b"there"


@pytest.fixture
def tls(certificate: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SSLContext]:
    """TLS of a server whose certificate authority is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", certificate.ca_file)
    connection.get_ssl_context.cache_clear()
    yield certificate.context
    connection.get_ssl_context.cache_clear()


def test_certificate_of_another_host_is_rejected(
    http_client_app: Flask,
    start_server: Serve,
    names: dict[str, list[str]],
    tls: SSLContext,
) -> None:
    names.update({"service.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    with start_server(tls=tls) as safe:
        change_settings(http_client_app, HTTP_CLIENT_ALLOWED_PORTS=[int(safe.port)])
        safe.respond(b"safe")
        assert fetch(f"https://service.test:{safe.port}").body == b"safe"
        with pytest.raises(BlockedURLError, match="certificate"):
            fetch(f"https://other.test:{safe.port}")
