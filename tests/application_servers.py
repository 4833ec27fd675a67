"""Application servers, started with a project's own command, and clients that connect to them without a proxy."""

import http.client
import os
import re
import shlex
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.parser import BytesParser
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import NamedTuple

from tests.deployed_project import ALLOW_ANONYMOUS, PRODUCTION_SETTINGS, SHORT_TIMEOUT
from tests.matrix import Combination
from tests.services import TIMEOUT, Response, children, free_port, stop, wait_until

# Views that stream a response and fail or end early; appended to the module that the server loads.
STREAMS = """

@app.get("/probe/body/<kind>")
def body(kind):
    from flask import Response, request

    def parts():
        for _ in range(3):
            yield b"x" * 1000
        if kind == "fails":
            raise RuntimeError("halfway")
        if kind == "whole":
            yield b"x" * 3000

    length = {"Content-Length": "6000"} if "length" in request.args else {}
    return Response(parts(), mimetype="text/csv", headers=length)
"""
STREAMS += ALLOW_ANONYMOUS

SETTINGS = {**PRODUCTION_SETTINGS, "ALLOWED_HOSTS": "127.0.0.1,localhost,example.com", "WEB_CONCURRENCY": "2"}


class Upstream(NamedTuple):
    """A running application server."""

    process: Popen[bytes]
    bind: str  # as in BIND: `host:port`, or `unix:/path`
    protocol: str  # http, or uwsgi if the project has a reverse proxy that uses it
    log: Path

    def connect(self, timeout: float = TIMEOUT) -> socket.socket:
        """Open a connection to the server."""
        return connect(self.bind, timeout)

    def request(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        """Send a request in the server's protocol."""
        client = request_uwsgi if self.protocol == "uwsgi" else request_http
        return client(self.bind, path, method, body, headers)

    def workers(self) -> set[int]:
        """Return the process IDs of the workers."""
        return children(self.process.pid)


def protocol_of(combination: Combination) -> str:
    """Return the protocol of the combination's application server."""
    return (
        "uwsgi"
        if (combination.options["wsgi_server"], combination.options["reverse_proxy"]) == ("uwsgi", "nginx")
        else "http"
    )


def command_of(project: Path) -> list[str]:
    """Return the command by which `make run-prod` starts the application server."""
    found = re.search(r"(?m)^\t.* --no-override -- (.*)$", (project / "Makefile").read_text(encoding="utf-8"))
    assert found
    return shlex.split(found[1])


def variables_of(project: Path, programs: Path, bind: str) -> dict[str, str]:
    """Return the environment variables in production: a home directory that does not exist and no bytecode."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {
        **SETTINGS,
        "PATH": path,
        "HOME": "/nonexistent",
        "PYTHONPATH": str(project / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DATABASE_URL": "sqlite://",
        "BIND": bind,
        # Of uWSGI's own metrics, which other tests serve at the same time.
        "METRICS_BIND": f"127.0.0.1:{free_port()}",
    }


@contextmanager
def application_server(
    project: Path,
    combination: Combination,
    programs: Path,
    log: Path,
    *,
    bind: str = "",
    options: tuple[str, ...] = (),
    starter: tuple[str, ...] = (),
    **variables: str,
) -> Iterator[Upstream]:
    """Run the application server of a rendered project within a `with` block.

    `bind` is `127.0.0.1:PORT` (a free one if none is named) or `unix:/path`; `programs` is the fixture `environment`;
    `starter` is a command that executes the one that follows it.
    """
    bind = bind or f"127.0.0.1:{free_port()}"
    command = [*starter, *command_of(project), *options]
    with log.open("wb") as output:
        process = Popen(
            command,
            executable=None if starter else programs / command[0],
            cwd=project,
            env=variables_of(project, programs, bind) | variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    upstream = Upstream(process, bind, protocol_of(combination), log)

    def is_ready() -> bool:
        with suppress(OSError, http.client.HTTPException):
            return upstream.request("/health/live").status == 200
        return False

    try:
        wait_until(is_ready, process)
        yield upstream
    except BaseException:
        print(log.read_text(encoding="utf-8", errors="replace")[-20_000:])
        raise
    finally:
        # Send SIGTERM to the first process only, as containers do; it stops the others.
        with suppress(TimeoutExpired):
            process.terminate()
            process.wait(SHORT_TIMEOUT)
        stop(process, signal.SIGKILL)


def connect(bind: str, timeout: float) -> socket.socket:
    """Open a connection to a BIND address."""
    if bind.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(bind.removeprefix("unix:"))
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = bind.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


class Connection(http.client.HTTPConnection):
    """An HTTP connection over TCP or a Unix socket."""

    def __init__(self, bind: str, timeout: float = TIMEOUT) -> None:
        """Store the address; the first request connects."""
        super().__init__("127.0.0.1", timeout=timeout)
        self.bind, self.within = bind, timeout

    def connect(self) -> None:
        """Open the connection."""
        self.sock = connect(self.bind, self.within)


def is_complete(connection: http.client.HTTPConnection, path: str, **headers: str) -> bool:
    """Return whether the response has status 200 and a client reads all of it without an error."""
    try:
        connection.request("GET", path, headers={"Host": "example.com", **headers})
        response = connection.getresponse()
        response.read()
    except (http.client.HTTPException, ConnectionError):
        return False
    else:
        return response.status == 200
    finally:
        connection.close()


def request_http(bind: str, path: str, method: str, body: bytes, headers: Mapping[str, str]) -> Response:
    """Send an HTTP request."""
    connection = Connection(bind)
    try:
        connection.request(method, path, body or None, dict(headers))
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def request_uwsgi(bind: str, path: str, method: str, body: bytes, headers: Mapping[str, str]) -> Response:
    """Send a request in the uwsgi protocol, like a proxy does: a table of variables, then the body."""
    variables = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": path,
        "PATH_INFO": path.partition("?")[0],
        "QUERY_STRING": path.partition("?")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "CONTENT_TYPE": "",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    variables["CONTENT_TYPE"] = variables.pop("HTTP_CONTENT_TYPE", "")
    texts = [text.encode("latin-1") for pair in variables.items() for text in pair]
    table = b"".join(struct.pack("<H", len(text)) + text for text in texts)
    with connect(bind, TIMEOUT) as connection:
        connection.sendall(struct.pack("<BHB", 0, len(table), 0) + table + body)
        with connection.makefile("rb") as file:
            response = file.read()
    head, _, text = response.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    if not line:
        raise http.client.RemoteDisconnected("no response")
    parsed = BytesParser().parsebytes(rest + b"\r\n\r\n")
    return Response(int(line.split()[1]), parsed, text.decode())
