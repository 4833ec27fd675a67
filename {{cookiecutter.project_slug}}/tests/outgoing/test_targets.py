import socket
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from flask import Flask

from {{ cookiecutter.package_name }} import outgoing
from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.outgoing import (
    RefusedError,
    Target,
    UnreachableError,
)
from {{ cookiecutter.package_name }}.outgoing.targets import is_public


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
def test_a_url_is_read(url: str, target: Target) -> None:
    assert Target.parse(url, [8080]) == target


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "begin"),
        ("example.com", "begin"),
        ("http://", "begin"),
        ("ftp://example.com", "begin"),
        ("file:///etc/passwd", "begin"),
        ("gopher://example.com", "begin"),
        ("http://exa mple.com", "begin"),
        ("http://example.com\x00.example.org", "begin"),
        ("http://[fe80::1%25eth0]/", "begin"),
        ("http://user@example.com", "password"),
        ("http://:password@example.com", "password"),
        ("http://example.com:22", "port 22"),
        ("https://example.com:8443", "port 8443"),
        ("http://example.com:port", "no URL"),
        ("http://[example.com", "no URL"),
        (f"http://{'a' * 64}.com", "no URL"),
        ("http://example..com", "no URL"),
    ],
)
def test_a_url_is_refused(url: str, problem: str) -> None:
    with pytest.raises(RefusedError, match=problem):
        Target.parse(url, [])


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
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
        "2001:db8::1",
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
def test_an_internal_address_is_known(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1", "2606:4700::1111"],
)
def test_a_public_address_is_known(address: str) -> None:
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
def test_a_host_without_a_public_address_is_refused(host: str) -> None:
    with pytest.raises(RefusedError, match="no public address"):
        Target("http", host, 80, "/").resolve([])


def test_one_internal_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = Target("http", "both.example", 80, "/")
    with pytest.raises(RefusedError, match="no public address"):
        target.resolve([])
    found.pop()
    assert target.resolve([]) == ["1.1.1.1"]


def test_a_lookup_that_may_work_later_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UnreachableError, match="at the moment"):
        Target("http", "slow.example", 80, "/").resolve([])


def test_networks_are_read_at_the_start(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="OUTGOING_NETWORKS"):
        outgoing.init_app(make_app(OUTGOING_NETWORKS="10.0.0.0/8, intranet"))
