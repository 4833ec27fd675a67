"""The endpoint `/metrics`, for Prometheus alone."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from ....config import SettingsError, invalid

Networks = list[IPv4Network | IPv6Network]

# This machine and private networks (RFC 1918, RFC 4193).
DEFAULT_NETWORKS = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
]

PATH = "/metrics"
METHODS = {"GET", "HEAD"}
# A proxy or a load balancer sends at least one of these. Its own address may be a private one.
PROXY_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)


def parse_networks(texts: list[str]) -> Networks:
    """Parse METRICS_ALLOWED_NETWORKS."""
    try:
        return [ip_network(text) for text in texts or DEFAULT_NETWORKS]
    except ValueError:
        expected = "networks such as 10.1.2.0/24, separated by commas"
        message = invalid("METRICS_ALLOWED_NETWORKS", expected, ",".join(texts))
        raise SettingsError(message) from None


def is_allowed(peer: str, networks: Networks) -> bool:
    """Return whether the address at the other end of a connection is in one of the networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        # The socket is a file: the peer is on this machine.
        return peer == ""
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


class MetricsEndpoint:
    """WSGI middleware: respond with the metrics of all processes.

    It is the first middleware, so that it gets the address of the peer itself, and responds while
    all threads are busy. No limit, log line, header or cookie of other requests applies.
    """

    def __init__(
        self, wsgi_app: WSGIApplication, networks: Networks, render: Callable[[], bytes]
    ) -> None:
        self.wsgi_app = wsgi_app
        self.networks = networks
        self.render = render

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to `/metrics`, and pass on other requests."""
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] not in METHODS:
            return self.wsgi_app(environ, start_response)
        has_proxy = any(name in environ for name in PROXY_HEADERS)
        if has_proxy or not is_allowed(environ.get("REMOTE_ADDR", ""), self.networks):
            status, body = "403 Forbidden", b"Forbidden: see METRICS_ALLOWED_NETWORKS.\n"
        else:
            status, body = "200 OK", self.render()
        headers = [
            ("Content-Type", CONTENT_TYPE_PLAIN_0_0_4),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
