"""Forwarded headers are trusted only if the request comes from an IP address of the CDN."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from ...config import SettingsError, get_settings, invalid
from .addresses import Network, parse_networks

# Headers that the CDN sets.
CDN_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REQUEST_ID",
)
# Headers that no CDN sets, so that they come from the client.
CLIENT_HEADERS = ("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PREFIX")


def init_app(app: Flask) -> None:
    """Read the networks of the CDN from the file CDN_ADDRESSES, if any proxy is trusted."""
    settings = get_settings(app)
    if not settings.TRUSTED_PROXY_HOPS:
        return
    file = Path(settings.CDN_ADDRESSES)
    try:
        networks = parse_networks(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        expected = f"a file of networks ({error})"
        raise SettingsError(invalid("CDN_ADDRESSES", expected, str(file))) from None
    app.wsgi_app = TrustedPeersMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, networks
    )


class TrustedPeersMiddleware:
    """WSGI middleware: drop forwarded headers of requests that do not come from the CDN."""

    def __init__(self, wsgi_app: WSGIApplication, networks: Collection[Network]) -> None:
        self.wsgi_app = wsgi_app
        self.networks = networks
        self.is_trusted = lru_cache(maxsize=4096)(self.find_address)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application with the trusted headers."""
        dropped: tuple[str, ...] = CLIENT_HEADERS
        if not self.is_trusted(environ["REMOTE_ADDR"]):
            dropped += CDN_HEADERS
        for name in dropped:
            environ.pop(name, None)
        return self.wsgi_app(environ, start_response)

    def find_address(self, address: str) -> bool:
        """Return whether an IP address belongs to the CDN."""
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self.networks)
