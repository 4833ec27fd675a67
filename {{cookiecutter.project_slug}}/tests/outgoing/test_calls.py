import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from threading import Event
from typing import Any

import pytest
import trustme
from flask import Flask
from structlog.contextvars import bound_contextvars, clear_contextvars

from {{ cookiecutter.package_name }} import outgoing
from {{ cookiecutter.package_name }}.outgoing import (
    RefusedError,
    UnreachableError,
    connection,
    fetch,
)

Serve = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(outgoing, "PAUSES", (0.0, 0.0))


@pytest.fixture(autouse=True)
def context(calling: Flask) -> Iterator[None]:
    """The settings of an application that may call the service."""
    with calling.app_context():
        yield


def test_a_call_and_its_answer(service: Any) -> None:
    service.answer(b"made", status=201, X_Kind="test")
    with bound_contextvars(request_id="request-0001"):
        answer = fetch(f"{service.url}/pens?id=1", "POST", b"pen", {"Accept": "text/plain"})
    assert (answer.status, answer.body, answer.headers["X-Kind"]) == (201, b"made", "test")
    (asked,) = service.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/pens?id=1", b"pen")
    assert asked.headers["Host"] == service.address
    assert asked.headers["Accept"] == "text/plain"
    assert asked.headers["X-Request-ID"] == "request-0001"


def test_without_a_request_there_is_no_id(service: Any) -> None:
    clear_contextvars()
    service.answer()
    fetch(service.url)
    assert "X-Request-ID" not in service.asked[0].headers


def test_a_5xx_is_asked_again(service: Any) -> None:
    service.answer(status=500)
    service.answers.append([b"no HTTP\r\n\r\n"])
    service.answer(b"at last")
    assert fetch(service.url).body == b"at last"
    assert len(service.asked) == 3


def test_the_third_5xx_is_the_answer(service: Any) -> None:
    service.answer(status=503)
    assert fetch(service.url).status == 503
    assert len(service.asked) == 3


def test_there_is_no_attempt_without_time_for_it(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "PAUSES", (20.0,))
    service.answer(status=503)
    assert fetch(service.url).status == 503
    service.answers[0] = []
    with pytest.raises(UnreachableError, match="did not answer"):
        fetch(service.url)
    assert len(service.asked) == 2


def test_what_may_not_arrive_twice_is_sent_once(service: Any) -> None:
    service.answer(status=503)
    assert fetch(service.url, "POST").status == 503
    assert len(service.asked) == 1


def test_a_service_that_is_gone_is_unreachable(service: Any) -> None:
    service.answers.append([])
    with pytest.raises(UnreachableError, match="did not answer"):
        fetch(service.url)
    service.shutdown()
    service.server_close()
    with pytest.raises(UnreachableError, match="refused"):
        fetch(service.url)


@pytest.mark.parametrize("length", [{}, {"Content_Length": 2**40}])
def test_an_endless_answer_is_refused(calling: Flask, service: Any, length: dict[str, Any]) -> None:
    calling.config["OUTGOING_MAX_BYTES"] = 100_000
    service.answer(**length)
    service.answers[0] = itertools.chain(service.answers[0], itertools.repeat(b"x" * 10_000))
    with pytest.raises(RefusedError, match="longer than 100000 bytes"):
        fetch(service.url)


def test_half_an_answer_is_none(service: Any) -> None:
    service.answer(b"half", Content_Length=8)
    with pytest.raises(UnreachableError, match="to the end"):
        fetch(service.url)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_a_service_that_drips_is_cut(calling: Flask, service: Any, head: bytes) -> None:
    calling.config["OUTGOING_TIMEOUT"] = 0.5
    gone = Event()

    def drip() -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield b"x"
            if gone.wait(0.05):
                return

    service.answers.append(drip())
    began = time.monotonic()
    try:
        with pytest.raises(UnreachableError):
            fetch(service.url)
        assert time.monotonic() - began < 3
    finally:
        gone.set()


def test_a_time_that_is_up_begins_no_call(calling: Flask, service: Any) -> None:
    calling.config["OUTGOING_TIMEOUT"] = -1.0
    with pytest.raises(UnreachableError, match="the time is up"):
        fetch(service.url)
    assert not service.asked


def test_redirects_are_followed(service: Any) -> None:
    service.answer(status=302, Location="/next")
    service.answer(status=308, Location=f"{service.url}/last")
    service.answer(b"there")
    answer = fetch(service.url, headers={"Authorization": "Bearer token"})
    assert (answer.url, answer.body) == (f"{service.url}/last", b"there")
    assert [asked.headers["Authorization"] for asked in service.asked] == ["Bearer token"] * 3


def test_another_service_does_not_get_our_headers(service: Any) -> None:
    service.answer(status=302, Location=service.url.replace("127.0.0.1", "127.1"))
    service.answer(b"there")
    assert fetch(service.url, headers={"Authorization": "Bearer token"}).body == b"there"
    assert [asked.headers["Authorization"] for asked in service.asked] == ["Bearer token", None]


def test_a_redirect_to_an_internal_address_is_refused(serve: Serve, service: Any) -> None:
    with serve("127.0.0.2") as internal:
        internal.answer(b"secret")
        for url in (f"http://127.0.0.2:{service.port}", "http://169.254.169.254", "file:///etc"):
            service.answers.clear()
            service.answer(status=302, Location=url)
            with pytest.raises(RefusedError, match=r"no public address|does not begin"):
                fetch(service.url)
        assert not internal.asked


def test_a_circle_ends(service: Any) -> None:
    service.answer(status=302, Location="/again")
    with pytest.raises(RefusedError, match="too often"):
        fetch(service.url)
    assert len(service.asked) == 6


def test_only_reading_is_redirected(service: Any) -> None:
    service.answer(status=302, Location="/next")
    assert fetch(service.url, "POST").status == 302


def test_a_redirect_to_nowhere_is_an_answer(service: Any) -> None:
    service.answer(status=302)
    assert fetch(service.url).status == 302


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses that a name has, one lookup after the other."""
    known: dict[str, list[str]] = {}
    lookup = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        addresses = known.get(host)
        return lookup(addresses.pop(0) if addresses else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_the_connection_goes_to_the_address_that_was_checked(
    serve: Serve,
    service: Any,
    names: dict[str, list[str]],
) -> None:
    names["rebound.test"] = ["127.0.0.1", "127.0.0.2"]
    with serve("127.0.0.2") as internal:
        internal.answer(b"secret")
        service.answer(b"public")
        assert fetch(f"http://rebound.test:{service.port}").body == b"public"
    assert service.asked[0].headers["Host"] == f"rebound.test:{service.port}"
    assert names["rebound.test"] == ["127.0.0.2"]


def test_the_next_address_is_tried(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer(b"there")
    found = ["127.0.0.9", "127.0.0.1"]
    monkeypatch.setattr(outgoing.Target, "resolve", lambda *_: found)
    assert fetch(service.url).body == b"there"
    found.reverse()
    assert fetch(service.url).body == b"there"


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Iterator[SSLContext]:
    """The certificate of `service.test`, by an authority that is trusted here."""
    authority = trustme.CA()
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("service.test").configure_cert(context)
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        connection.make_context.cache_clear()
        yield context
    connection.make_context.cache_clear()


def test_a_certificate_must_be_the_host_s(
    calling: Flask,
    serve: Serve,
    names: dict[str, list[str]],
    tls: SSLContext,
) -> None:
    names.update({"service.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    with serve(tls=tls) as safe:
        calling.config["OUTGOING_PORTS"] = [int(safe.port)]
        safe.answer(b"safe")
        assert fetch(f"https://service.test:{safe.port}").body == b"safe"
        with pytest.raises(RefusedError, match="certificate"):
            fetch(f"https://other.test:{safe.port}")
