"""Protection against server-side request forgery: URLs and IP addresses that are allowed."""

import socket
import time
from collections.abc import Collection
from concurrent.futures import Future
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from re import fullmatch
from string import punctuation
from threading import Thread
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from ...config import SettingsError, invalid

PORTS = {"http": 80, "https": 443}
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Addresses of networks without IPv4; the last 32 bits are the IPv4 address (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")
# Special-purpose networks (RFC 6890) that `is_global` of some Python versions calls public: anycast
# services of the own network, and examples.
SPECIAL_NETWORKS = [
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "2001::/23",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]

# For an unknown host name, and for an invalid one.
LOOKUP_ERRORS = (OSError, UnicodeError)

Networks = list[IPv4Network | IPv6Network]


class Limits(NamedTuple):
    """Limits of a request: its end (`time.monotonic`), and where it may go."""

    deadline: float
    ports: Collection[int]
    networks: Networks


class BlockedURLError(ValueError):
    """A URL that is not allowed. A retry does not help."""


class UnreachableError(ConnectionError):
    """No response, or an incomplete one. A retry may help."""


class Target(NamedTuple):
    """The parts of a URL, encoded for the request."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, ports: Collection[int]) -> Self:
        """Parse a URL; raise `BlockedURLError` unless its port is 80, 443 or in `ports`."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port or PORTS.get(parts.scheme, 0)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            path = quote(path or "/", safe=punctuation)
        except ValueError:
            raise BlockedURLError("it is not a URL") from None
        if parts.scheme not in PORTS or not fullmatch(r"[a-z0-9._:-]+", host):
            raise BlockedURLError("it does not start with http:// or https:// and a host")
        if "@" in parts.netloc:
            raise BlockedURLError("it contains a user or a password")
        if port not in PORTS.values() and port not in ports:
            raise BlockedURLError(f"port {port} is not allowed")
        return cls(parts.scheme, host, port, path)

    def resolve(self, allowed: Networks, deadline: float) -> list[str]:
        """Return the IP addresses of the host, which must all be allowed.

        Connect to one of these: a second lookup could return others (DNS rebinding).
        """
        try:
            found = resolve_host(self.host, self.port, deadline)
        except TimeoutError as error:
            raise UnreachableError("the request timed out") from error
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise UnreachableError("its host cannot be resolved at the moment") from error
            found = []
        addresses = [ip_address(address) for *_, (address, *_) in found]
        # One message for both, so that it does not reveal the names of internal hosts.
        if not addresses or not all(is_allowed(address, allowed) for address in addresses):
            raise BlockedURLError("its host has no public address")
        return [str(address) for address in addresses]


def resolve_host(host: str, port: int, deadline: float) -> list[Any]:
    """Call `getaddrinfo` in a thread until the deadline, since it has no timeout."""
    found: Future[list[Any]] = Future()

    def run() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except LOOKUP_ERRORS as error:
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    return found.result(max(0, deadline - time.monotonic()))


def parse_networks(texts: Collection[str]) -> Networks:
    """Parse networks such as 10.1.0.0/16."""
    try:
        return [ip_network(text) for text in texts]
    except ValueError:
        expected = "networks such as 10.1.2.0/24, separated by commas"
        message = invalid("HTTP_CLIENT_ALLOWED_NETWORKS", expected, ",".join(texts))
        raise SettingsError(message) from None


def is_allowed(address: IPv4Address | IPv6Address, allowed: Networks) -> bool:
    """Return whether requests to an IP address are allowed."""
    return is_public(address) or any(address in network for network in allowed)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an IP address is public. An IPv4 address inside an IPv6 one must be public."""
    if any(address in network for network in SPECIAL_NETWORKS):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
    inner = inner or address.ipv4_mapped or address.sixtofour
    if inner:
        return is_public(inner)
    return address.is_global and address in GLOBAL_UNICAST
