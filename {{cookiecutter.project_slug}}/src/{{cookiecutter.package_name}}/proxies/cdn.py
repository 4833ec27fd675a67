"""Who may say for whom a request is: the CDN, by its addresses, as no proxy knows them."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from ..cdn.addresses import Network, find
from ..config import SettingsError

SAID_OF_CLIENTS = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REQUEST_ID",
)


def init_app(app: Flask) -> None:
    """Believe nobody but the CDN."""
    file = Path(app.config["CDN_ADDRESSES"])
    try:
        networks = find(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError([f"CDN_ADDRESSES: {file}: {error}"]) from None
    app.wsgi_app = KnownPeers(app.wsgi_app, networks)  # type: ignore[method-assign]


class KnownPeers:
    """WSGI middleware: drops what others than the CDN say of a client."""

    def __init__(self, wsgi_app: WSGIApplication, networks: Collection[Network]) -> None:
        self.wsgi_app = wsgi_app
        self.networks = networks
        self.is_known = lru_cache(maxsize=4096)(self.look_up)

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answer as the wrapped application does."""
        # No CDN says it, so the client does.
        environ.pop("HTTP_X_FORWARDED_HOST", None)
        if not self.is_known(environ["REMOTE_ADDR"]):
            for name in SAID_OF_CLIENTS:
                environ.pop(name, None)
        return self.wsgi_app(environ, start_response)

    def look_up(self, address: str) -> bool:
        """Tell whether an address is the CDN's."""
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self.networks)
