import socket
import time
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core import http_client
from {{ cookiecutter.package_name }}.core.http_client import (
    BlockedURLError,
    Target,
    UnreachableError,
)
from {{ cookiecutter.package_name }}.core.http_client.ssrf import is_public


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", Target("http", "example.com", 80, "/")),
        ("https://Example.com/a?b=c d#e", Target("https", "example.com", 443, "/a?b=c%20d")),
        ("https://bücher.example/ä", Target("https", "xn--bcher-kva.example", 443, "/%C3%A4")),
        ("http://example.com:8080/%20", Target("http", "example.com", 8080, "/%20")),
        ("http://[2606:4700::1111]/", Target("http", "2606:4700::1111", 80, "/")),
    ],
)
def test_url_is_parsed(url: str, target: Target) -> None:
    assert Target.parse(url, [8080]) == target


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "start"),
        ("example.com", "start"),
        ("http://", "start"),
        ("ftp://example.com", "start"),
        ("file:///etc/passwd", "start"),
        ("gopher://example.com", "start"),
        ("http://exa mple.com", "start"),
        ("http://example.com\x00.example.org", "start"),
        ("http://[fe80::1%25eth0]/", "start"),
        ("http://user@example.com", "password"),
        ("http://:password@example.com", "password"),
        ("http://example.com:22", "port 22"),
        ("https://example.com:8443", "port 8443"),
        ("http://example.com:port", "not a URL"),
        ("http://[example.com", "not a URL"),
        (f"http://{'a' * 64}.com", "not a URL"),
        ("http://example..com", "not a URL"),
    ],
)
def test_invalid_url_is_blocked(url: str, message: str) -> None:
    with pytest.raises(BlockedURLError, match=message):
        Target.parse(url, [])


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.9",
        "192.0.0.10",
        "192.31.196.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.175.48.1",
        "198.18.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::10.0.0.1",
        "2001:0:7f00:1::1",
        "2001:1::1",
        "2001:20::1",
        "2001:db8::1",
        "2620:4f:8000::1",
        "3fff::1",
        "3fff:fff::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_internal_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1", "2606:4700::1111"],
)
def test_public_address(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "::1",
        "localhost",
        "no.invalid",
    ],
)
def test_host_without_public_address_is_blocked(host: str) -> None:
    with pytest.raises(BlockedURLError, match="no public address"):
        Target("http", host, 80, "/").resolve([], time.monotonic() + 5)


def test_host_with_an_internal_address_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = Target("http", "both.example", 80, "/")
    with pytest.raises(BlockedURLError, match="no public address"):
        target.resolve([], time.monotonic() + 5)
    found.pop()
    assert target.resolve([], time.monotonic() + 5) == ["1.1.1.1"]


def test_temporary_lookup_failure_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UnreachableError, match="at the moment"):
        Target("http", "slow.example", 80, "/").resolve([], time.monotonic() + 5)


def test_invalid_network_is_a_settings_error(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="HTTP_CLIENT_ALLOWED_NETWORKS"):
        http_client.init_app(make_app(HTTP_CLIENT_ALLOWED_NETWORKS="10.0.0.0/8, intranet"))


def test_slow_lookup_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(0.5))
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="timed out"):
        Target("http", "slow.example", 80, "/").resolve([], started + 0.05)
    assert time.monotonic() - started < 0.4
