"""Application servers, started as a project says, and clients that speak to them without a proxy."""

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

from tests.answers import Row
from tests.production import PRODUCTION, PROMPT
from tests.services import PATIENCE, Answer, free_port, stop, wait_until

SETTINGS = {**PRODUCTION, "ALLOWED_HOSTS": "127.0.0.1,localhost,example.com", "WEB_CONCURRENCY": "2"}


class Upstream(NamedTuple):
    """An application server that runs."""

    process: Popen[bytes]
    bind: str  # as in BIND: `host:port`, or `unix:/path`
    protocol: str  # what it speaks there: http, or uwsgi when a proxy is to be in front
    log: Path

    def connect(self, within: float = PATIENCE) -> socket.socket:
        """Open a connection to it."""
        return connect(self.bind, within)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Ask it, in its protocol."""
        client = ask_uwsgi if self.protocol == "uwsgi" else ask_http
        return client(self.bind, path, method, body, headers)

    def workers(self) -> set[int]:
        """The processes that it has started."""
        return children(self.process.pid)


def protocol_of(row: Row) -> str:
    """What the application server of a row speaks."""
    return "uwsgi" if (row.options["wsgi_server"], row.options["reverse_proxy"]) == ("uwsgi", "nginx") else "http"


def command_of(project: Path) -> list[str]:
    """The command by which `make serve` starts the application server."""
    found = re.search(r"(?m)^\t.* --no-override -- (.*)$", (project / "Makefile").read_text(encoding="utf-8"))
    assert found
    return shlex.split(found[1])


def variables_of(project: Path, programs: Path, bind: str) -> dict[str, str]:
    """The environment in production: nobody's home, and nothing that may be written to."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {
        **SETTINGS,
        "PATH": path,
        "HOME": "/nonexistent",
        "PYTHONPATH": str(project / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DATABASE_URL": "sqlite://",
        "BIND": bind,
    }


@contextmanager
def application_server(
    project: Path,
    row: Row,
    programs: Path,
    log: Path,
    *,
    bind: str = "",
    options: tuple[str, ...] = (),
    **variables: str,
) -> Iterator[Upstream]:
    """Run the application server of a render for as long as the block takes.

    `bind` is `127.0.0.1:PORT` (a free one if none is named) or `unix:/path`; `programs` is the fixture `environment`.
    """
    bind = bind or f"127.0.0.1:{free_port()}"
    command = [*command_of(project), *options]
    with log.open("wb") as output:
        process = Popen(
            command,
            executable=programs / command[0],
            cwd=project,
            env=variables_of(project, programs, bind) | variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    upstream = Upstream(process, bind, protocol_of(row), log)

    def answers() -> bool:
        with suppress(OSError, http.client.HTTPException):
            return upstream.ask("/health/live").status == 200
        return False

    try:
        wait_until(answers, process)
        yield upstream
    except BaseException:
        print(log.read_text(encoding="utf-8", errors="replace")[-20_000:])
        raise
    finally:
        # As containers do it: the first process is told, and tells the others.
        with suppress(TimeoutExpired):
            process.terminate()
            process.wait(PROMPT)
        stop(process, signal.SIGKILL)


def children(process: int) -> set[int]:
    """The processes that a process has started, and that live."""
    with suppress(FileNotFoundError):
        return {int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()}
    return set()


def connect(bind: str, within: float) -> socket.socket:
    """Open a connection to what BIND says."""
    if bind.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(within)
        try:
            connection.connect(bind.removeprefix("unix:"))
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = bind.rpartition(":")
    return socket.create_connection((host, int(port)), within)


class Connection(http.client.HTTPConnection):
    """A client's connection, over TCP or a Unix socket."""

    def __init__(self, bind: str, within: float = PATIENCE) -> None:
        """Connect when it is first used."""
        super().__init__("127.0.0.1", timeout=within)
        self.bind, self.within = bind, within

    def connect(self) -> None:
        """Open it."""
        self.sock = connect(self.bind, self.within)


def ask_http(bind: str, path: str, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Ask a server that speaks HTTP."""
    connection = Connection(bind)
    try:
        connection.request(method, path, body or None, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def ask_uwsgi(bind: str, path: str, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Ask a server that speaks the uwsgi protocol, as a proxy does: the request is a table of variables."""
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
    with connect(bind, PATIENCE) as connection:
        connection.sendall(struct.pack("<BHB", 0, len(table), 0) + table + body)
        with connection.makefile("rb") as file:
            answer = file.read()
    head, _, text = answer.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    if not line:
        raise http.client.RemoteDisconnected("no answer")
    parsed = BytesParser().parsebytes(rest + b"\r\n\r\n")
    return Answer(int(line.split()[1]), parsed, text.decode())
