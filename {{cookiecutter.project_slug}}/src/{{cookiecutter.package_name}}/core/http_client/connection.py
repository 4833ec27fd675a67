"""Connection to a validated IP address, which ends at a deadline."""

import socket
import ssl
import time
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from threading import Timer
from typing import Self

from .ssrf import PORTS, BlockedURLError, Target, UnreachableError

# In seconds: for each address, and between two reads.
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 5.0
BLOCK_SIZE = 64 * 1024


@cache
def get_ssl_context() -> ssl.SSLContext:
    """Return the context with the system's certificate authorities, which takes 20 ms to load."""
    return ssl.create_default_context()


class Connection(HTTPConnection):
    """An HTTP connection to one of the addresses of a host; the certificate must be the host's."""

    def __init__(self, target: Target, addresses: list[str], deadline: float) -> None:
        super().__init__(target.host, target.port)
        self.default_port = PORTS[target.scheme]
        self.is_https = target.scheme == "https"
        self.addresses = addresses
        self.deadline = deadline
        self.timed_out = False
        self.raw_socket: socket.socket | None = None
        self.timer: Timer | None = None

    def __enter__(self) -> Self:
        """Return the connection; the first request opens it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection and stop the timer."""
        if self.timer and self.raw_socket:
            self.timer.cancel()
            self.raw_socket.close()
        self.close()

    def connect(self) -> None:
        """Connect, and start the timer: the read timeout does not limit a slow stream of bytes."""
        self.sock = self.connect_any()
        self.raw_socket = self.sock.dup()
        self.timer = Timer(self.remaining(), self.abort, [self.raw_socket])
        self.timer.start()
        if self.is_https:
            self.sock = get_ssl_context().wrap_socket(self.sock, server_hostname=self.host)

    def connect_any(self) -> socket.socket:
        """Connect to the first address that accepts."""
        *others, last = self.addresses
        for address in others:
            with suppress(OSError):
                return self.connect_to(address)
        return self.connect_to(last)

    def connect_to(self, address: str) -> socket.socket:
        """Connect to an IP address."""
        timeout = min(CONNECT_TIMEOUT, self.remaining())
        connected = socket.create_connection((address, self.port), timeout)
        connected.settimeout(READ_TIMEOUT)
        return connected

    def remaining(self) -> float:
        """Return the seconds until the deadline; raise if it is over."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise UnreachableError("the request timed out")
        return remaining

    def abort(self, raw_socket: socket.socket) -> None:
        """Shut the connection down, which ends a read in another thread."""
        self.timed_out = True
        with suppress(OSError):
            raw_socket.shutdown(socket.SHUT_RDWR)

    def read(self, response: HTTPResponse, limit: int) -> bytes:
        """Return the body; raise if it is incomplete or larger than the limit in bytes."""
        content = bytearray()
        with response:
            while block := response.read(BLOCK_SIZE):
                content += block
                if len(content) > limit:
                    raise BlockedURLError(f"its response is larger than {limit} bytes")
            if self.timed_out or response.length:
                raise UnreachableError("the response is incomplete")
        return bytes(content)
