"""A connection of its own for each call: to a checked address, and cut at a deadline."""

import socket
import ssl
import time
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from threading import Timer
from typing import Self

from .targets import PORTS, RefusedError, Target, UnreachableError

# Seconds until an address that does not answer, or a service that falls silent, is given up.
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 5.0
PART = 64 * 1024


@cache
def make_context() -> ssl.SSLContext:
    """Read the certificates that this machine trusts, once."""
    return ssl.create_default_context()


class Connection(HTTPConnection):
    """Goes to one of the checked addresses; a certificate must be the host's all the same."""

    def __init__(self, target: Target, addresses: list[str], deadline: float) -> None:
        super().__init__(target.host, target.port)
        self.default_port = PORTS[target.scheme]
        self.is_secure = target.scheme == "https"
        self.addresses = addresses
        self.deadline = deadline
        self.is_cut = False
        self.line: socket.socket | None = None
        self.timer: Timer | None = None

    def __enter__(self) -> Self:
        """Connect with the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        if self.timer and self.line:
            self.timer.cancel()
            self.line.close()
        self.close()

    def connect(self) -> None:
        """Reach an address, and set the end: no timeout of reading ends a byte now and then."""
        self.sock = self.reach()
        self.line = self.sock.dup()
        self.timer = Timer(self.remaining(), self.cut, [self.line])
        self.timer.start()
        if self.is_secure:
            self.sock = make_context().wrap_socket(self.sock, server_hostname=self.host)

    def reach(self) -> socket.socket:
        """Connect to the first address that answers."""
        *others, last = self.addresses
        for address in others:
            with suppress(OSError):
                return self.dial(address)
        return self.dial(last)

    def dial(self, address: str) -> socket.socket:
        """Connect to an address."""
        timeout = min(CONNECT_TIMEOUT, self.remaining())
        dialled = socket.create_connection((address, self.port), timeout)
        dialled.settimeout(READ_TIMEOUT)
        return dialled

    def remaining(self) -> float:
        """Return the seconds until the deadline."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise UnreachableError("the time is up")
        return remaining

    def cut(self, line: socket.socket) -> None:
        """End the connection, whatever it waits for."""
        self.is_cut = True
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    def read(self, response: HTTPResponse, limit: int) -> bytes:
        """Read a body up to a limit, to its end."""
        content = bytearray()
        with response:
            while part := response.read(PART):
                content += part
                if len(content) > limit:
                    raise RefusedError(f"its answer is longer than {limit} bytes")
            if self.is_cut or response.length:
                raise UnreachableError("it did not answer to the end")
        return bytes(content)
