"""Where a call may go: to public addresses, and to the internal networks that the settings name."""

import socket
from collections.abc import Collection, Iterable
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
from typing import NamedTuple, Self
from urllib.parse import quote, urlsplit

from ..config import SettingsError

PORTS = {"http": 80, "https": 443}
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Where a network without IPv4 finds the IPv4 address that is in the last 32 bits.
NAT64 = IPv6Network("64:ff9b::/96")

Networks = list[IPv4Network | IPv6Network]


class RefusedError(ValueError):
    """What may not be called; another attempt would not help."""


class UnreachableError(ConnectionError):
    """Nobody answered, or not to the end; later it may work."""


class Target(NamedTuple):
    """What a URL names, in the form in which it is sent."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, ports: Collection[int]) -> Self:
        """Read a URL, or refuse it; `ports` are those besides the usual two."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port or PORTS.get(parts.scheme, 0)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            path = quote(path or "/", safe=punctuation)
        except ValueError:
            raise RefusedError("it is no URL") from None
        if parts.scheme not in PORTS or not fullmatch(r"[a-z0-9._:-]+", host):
            raise RefusedError("it does not begin with http:// or https:// and a host")
        if "@" in parts.netloc:
            raise RefusedError("it holds a user or a password")
        if port not in {*PORTS.values(), *ports}:
            raise RefusedError(f"port {port} is not called")
        return cls(parts.scheme, host, port, path)

    def resolve(self, allowed: Networks) -> list[str]:
        """Look the host up, once: the connection goes to these addresses and to no other."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise UnreachableError("its host cannot be looked up at the moment") from error
            found = []
        addresses = [ip_address(address) for *_, (address, *_) in found]
        # The same words for both: what our own network has is nobody's business.
        if not addresses or not all(is_open(address, allowed) for address in addresses):
            raise RefusedError("its host has no public address")
        return [str(address) for address in addresses]


def parse_networks(texts: Iterable[str]) -> Networks:
    """Read networks such as 10.1.0.0/16."""
    try:
        return [ip_network(text) for text in texts]
    except ValueError as error:
        raise SettingsError([f"OUTGOING_NETWORKS: {error}"]) from None


def is_open(address: IPv4Address | IPv6Address, allowed: Networks) -> bool:
    """Tell whether an address may be called."""
    return is_public(address) or any(address in network for network in allowed)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is somebody's on the Internet; an IPv4 address inside one counts."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
    inner = inner or address.ipv4_mapped or address.sixtofour
    if inner:
        return is_public(inner)
    return address.is_global and address in GLOBAL_UNICAST
