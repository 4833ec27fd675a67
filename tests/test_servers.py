"""Application servers, each with the configuration of the render: what they answer, refuse, and survive."""

import json
import os
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event

import pytest

from tests.answers import DEFAULT, OPTIONS, ROWS, Row, each
from tests.conftest import Run
from tests.edge import Connection, Upstream, application_server, command_of, protocol_of, variables_of
from tests.production import PROMPT
from tests.services import free_port, wait_until


def row_of(server: str, *proxies: str, without: str = "") -> Row:
    """A row of a server behind one of these proxies, and without a database; with the example where there is one."""
    found = [
        row
        for row in ROWS
        if row.options["wsgi_server"] == server
        and row.options["reverse_proxy"] in proxies
        and row.options["database"] != without
    ]
    return max(found, key=lambda row: (row.options["cdn"] == "none", row.options["example_app"]))


GEVENT = row_of("gunicorn", "none", without="sqlite")
GRANIAN = row_of("granian", "nginx", "apache")
UWSGI = row_of("uwsgi", "nginx")
UWSGI_HTTP = row_of("uwsgi", "none")
SERVED = [DEFAULT, GEVENT, GRANIAN, UWSGI, UWSGI_HTTP]
SPEAK_HTTP = [row for row in SERVED if protocol_of(row) == "http"]
GUNICORN = [row for row in ROWS if row.options["wsgi_server"] == "gunicorn"]

# What the servers are asked by clients who do not stop asking.
CLIENTS = 6
ENOUGH = 200

PROBE = """

import os
import time

forked = []
os.register_at_fork(after_in_child=lambda: forked.append(os.getpid()))


@app.get("/probe")
def probe():
    return {"process": os.getpid(), "forked": forked}


@app.get("/probe/slow")
def slow():
    print("asleep", flush=True)
    time.sleep(1)
    return {}


@app.post("/probe/upload")
def upload():
    from flask import request

    return {"size": len(request.get_data())}
"""

Serve = Callable[..., AbstractContextManager[Upstream]]


@pytest.fixture
def serve(row: Row, environment: Path, tmp_path: Path) -> Serve:
    """Start the server of a row, in a project."""

    def serve(project: Path, **settings: str) -> AbstractContextManager[Upstream]:
        return application_server(project, row, environment, tmp_path / "log", **settings)  # type: ignore[arg-type]

    return serve


@pytest.fixture
def probed(workspace: Path) -> Path:
    """A project with views that only tests need."""
    (module,) = workspace.glob("src/*/wsgi.py")
    module.write_text(module.read_text(encoding="utf-8") + PROBE, encoding="utf-8")
    return workspace


def test_every_server_is_proved() -> None:
    """Each value is among the rows that are started here."""
    assert {row.options["wsgi_server"] for row in SERVED} == {*OPTIONS["wsgi_server"]}


@each(GUNICORN)
def test_configuration_is_accepted(project: Path, environment: Path, run: Run) -> None:
    """The program itself reads it, and loads the application."""
    command = [environment / "gunicorn", *command_of(project)[1:], "--check-config"]
    result = run(*command, cwd=project, **variables_of(project, environment, "127.0.0.1:0"))
    assert result.returncode == 0, result.stderr
    assert not re.search("(?i)warn", result.stderr), result.stderr


@each(SERVED)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_answers(row: Row, project: Path, serve: Serve, run: Run, environment: Path, tmp_path: Path, kind: str) -> None:
    """A page, a static file, the API, an error and an upload; and it writes nothing beside its socket and data."""
    before = sorted(project.rglob("*"))
    bind = f"unix:{tmp_path}/socket" if kind == "unix" else f"127.0.0.1:{free_port()}"
    has_catalog = row.options["database"] != "none" and row.options["example_app"]
    database = f"sqlite:///{tmp_path}/production.sqlite3"
    if has_catalog:
        (package,) = (path.parent.name for path in project.glob("src/*/wsgi.py"))
        variables = variables_of(project, environment, bind) | {"DATABASE_URL": database}
        for words in (["db", "upgrade"], ["seed"]):
            result = run(environment / "flask", "--app", f"{package}.wsgi", *words, cwd=project, **variables)
            assert result.returncode == 0, result.stderr

    with serve(project, bind=bind, DATABASE_URL=database) as server:
        pages = {"/docs": "text/html", "/docs/docs.js": "text/javascript", "/docs/openapi.json": "application/json"}
        if row.options["web_pages"]:
            pages["/"] = "text/html"
            pages["/static/style.css"] = "text/css"
        for path, kind_of_page in pages.items():
            answer = server.ask(path)
            assert answer.status == 200, path
            assert answer.headers.get_content_type() == kind_of_page, path
            assert answer.headers["X-Request-ID"], path
        assert server.ask("/nowhere").status == 404

        if has_catalog:
            categories = json.loads(server.ask("/api/v1/categories").text)
            product = {"sku": "KITE", "name": "Kite", "price_cents": 1250, "category_id": categories[0]["id"]}
            body = json.dumps(product).encode()
            answer = server.ask("/api/v1/products", "POST", body, **{"Content-Type": "application/json"})
            assert answer.status == 201, answer.text
            assert json.loads(server.ask(answer.headers["Location"]).text)["sku"] == "KITE"

    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert not re.search(r"Traceback|\[ERROR\]|\"level\":\"error\"", log), log
    # Each request is told once: by the application, as there may be a proxy that does it, too.
    assert log.count("/docs/docs.js") == 1, log
    assert sorted(project.rglob("*")) == before


def hear(server: Upstream, request: bytes, within: float = PROMPT) -> bytes:
    """Send bytes, and return all that is answered until the server closes; nothing, when it breaks off."""
    heard = b""
    with suppress(ConnectionError), server.connect(within) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        while more := connection.recv(65_536):
            heard += more
    return heard


def post(headers: str, body: str) -> bytes:
    """A request with a body, and another one that a confused server would take out of it."""
    smuggled = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Smuggled: yes\r\n\r\n"
    return f"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n{body}{smuggled}".encode()


AMBIGUOUS = {
    "length and chunks": post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "two lengths": post("Content-Length: 4\r\nContent-Length: 0\r\n", ""),
    "a bad chunk": post("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"),
    "an unknown coding": post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    "a length with a sign": post("Content-Length: +0\r\n", ""),
    "a folded header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Folded: a\r\n b\r\n\r\n",
}
EXCESSIVE = {
    "request line": b"GET /?" + 100_000 * b"x" + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + 100_000 * b"x" + b"\r\n\r\n",
    "headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    "body": b"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n",
}
BROKEN = b"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhello"


@each(SPEAK_HTTP)
def test_refuses(row: Row, probed: Path, serve: Serve) -> None:
    """What is too large, what could be read in two ways, and a body that breaks off."""
    with serve(probed) as server:
        for name, request in EXCESSIVE.items():
            heard = hear(server, request)
            # uWSGI has no answer to headers that it does not take.
            assert re.match(rb"HTTP/1.1 4\d\d ", heard) or (row == UWSGI_HTTP and not heard), (name, heard)
        for name, request in AMBIGUOUS.items():
            heard = hear(server, request)
            if row == UWSGI_HTTP:
                assert heard.count(b"HTTP/1.1 ") == 1, (name, heard)
            else:
                assert re.match(rb"HTTP/1.1 (4\d\d|501) ", heard), (name, heard)
                assert heard.count(b"HTTP/1.1 ") == 1, (name, heard)
        with server.connect() as connection:
            connection.sendall(BROKEN)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(15) in (b"HTTP/1.1 400 Ba", b"HTTP/1.1 400 BA", b"")
        assert server.ask("/probe/upload", "POST", b"x" * 100_000).text == '{"size":100000}'
        assert server.ask("/health/live").status == 200


@each([GEVENT])
def test_slow_clients_stop_nobody(probed: Path, serve: Serve) -> None:
    """200 that take for ever to send a header, and 200 that do so with a body."""
    starts = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", BROKEN)
    with serve(probed) as server:
        clients = [server.connect() for _ in range(200) for _ in starts]
        for number, client in enumerate(clients):
            client.sendall(starts[number % 2])
        connection = Connection(server.bind, PROMPT)
        for _ in range(20):
            connection.request("GET", "/probe")
            assert json.loads(connection.getresponse().read())["process"] in server.workers()
        connection.close()
        for client in clients:
            client.close()


@each(SERVED)
def test_a_stop_waits_for_requests(probed: Path, serve: Serve) -> None:
    """What runs is answered, and nothing is left behind."""
    with serve(probed) as server, ThreadPoolExecutor() as clients:
        assert server.ask("/probe").status == 200
        running = clients.submit(server.ask, "/probe/slow")
        wait_until(lambda: "asleep" in server.log.read_text(encoding="utf-8"), server.process)
        server.process.terminate()
        assert running.result().status == 200
        assert server.process.wait(PROMPT) == 0
    assert not server.workers()


class Load:
    """Clients who ask without a pause."""

    def __init__(self, server: Upstream, *, is_kept: bool) -> None:
        """Each asks on one connection after the other, or for as long as it can on one."""
        self.server, self.is_kept, self.done = server, is_kept, Event()
        self.answered: Counter[int] = Counter()
        self.failed: list[str] = []

    def ask(self) -> None:
        """Count answers by the process that gave them, and what went wrong."""
        connection = Connection(self.server.bind, PROMPT)
        while not self.done.is_set():
            try:
                if self.is_kept:
                    connection.request("GET", "/probe")
                    told = json.loads(connection.getresponse().read())
                else:
                    told = json.loads(self.server.ask("/probe").text)
                self.answered[told["process"]] += 1
            except (OSError, HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
        connection.close()

    def until(self, is_so: Callable[[], bool]) -> None:
        """Go on until something is so."""
        wait_until(is_so, self.server.process)

    def until_more(self, by: set[int] | None = None) -> None:
        """Go on for as many answers again, by certain processes if they are named."""
        before = self.answered.copy()
        self.until(lambda: sum((self.answered - before)[one] for one in by or {*self.answered}) > ENOUGH)


@contextmanager
def load(server: Upstream, *, is_kept: bool = False) -> Iterator[Load]:
    """Load a server for as long as the block takes."""
    asked = Load(server, is_kept=is_kept)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(asked.ask) for _ in range(CLIENTS)]
        try:
            yield asked
        finally:
            asked.done.set()
        for client in clients:
            client.result()


def are_replaced(server: Upstream, old: set[int], number: int = 0) -> bool:
    """Tell whether workers are gone, and as many are there as before."""
    workers = server.workers()
    return not old & workers and len(workers) == (number or len(old))


@each([DEFAULT, GEVENT, GRANIAN, UWSGI])
def test_a_reload_loses_nothing(row: Row, probed: Path, serve: Serve) -> None:
    """SIGHUP under load replaces all workers, and who asks notices nothing."""
    with serve(probed) as server:
        for is_kept in (False, True) if protocol_of(row) == "http" and row != GRANIAN else (False,):
            with load(server, is_kept=is_kept) as asked:
                asked.until_more()
                old = server.workers()
                server.process.send_signal(signal.SIGHUP)
                asked.until(partial(are_replaced, server, old))
                asked.until_more(server.workers())
            # On Linux each worker of granian has a queue of its own, which goes with it.
            assert len(asked.failed) <= (CLIENTS if row == GRANIAN else 0), asked.failed


@each(SERVED)
def test_a_killed_worker_takes_its_requests_along(row: Row, probed: Path, serve: Serve) -> None:
    """Who it answered asks again, and it is replaced."""
    with serve(probed) as server, load(server) as asked:
        asked.until(lambda: len(server.workers() & {*asked.answered}) == 2)
        old = server.workers()
        victim = next(one for one in old if asked.answered[one])
        os.kill(victim, signal.SIGKILL)
        asked.until(partial(are_replaced, server, {victim}, len(old)))
        asked.until_more()
        asked.done.set()
    # Each worker of granian has a queue of its own, in which one may wait anew until it is gone.
    assert len(asked.failed) <= (2 * CLIENTS if row == GRANIAN else CLIENTS), asked.failed


@each([DEFAULT, GEVENT, GRANIAN])
def test_idle_connections_stop_nobody(row: Row, probed: Path, serve: Serve) -> None:
    """Neither those that have not asked yet nor 200 that are kept after they have, all at once."""
    # Each takes a thread for five seconds, which is why threads want a proxy.
    silent = 4 if row == DEFAULT else 200
    with serve(probed, WEB_THREADS="2") as server, ExitStack() as idle, ThreadPoolExecutor(32) as clients:
        kept = [idle.enter_context(closing(Connection(server.bind, PROMPT))) for _ in range(200)]
        for _ in range(silent):
            idle.enter_context(server.connect())

        def ask(connection: Connection) -> int:
            connection.request("GET", "/probe")
            response = connection.getresponse()
            response.read()
            return response.status

        assert {*clients.map(ask, kept)} == {200}
        for _ in range(20):
            with closing(Connection(server.bind, PROMPT)) as connection:
                assert ask(connection) == 200


@each([DEFAULT, UWSGI])
def test_python_knows_of_the_fork(probed: Path, serve: Serve) -> None:
    """Where the application is loaded before the fork, what must not be shared is made anew."""
    with serve(probed) as server:
        told = json.loads(server.ask("/probe").text)
        assert told["forked"] == [told["process"]]


@each([DEFAULT, GRANIAN, UWSGI])
def test_settings_are_demanded(project: Path, environment: Path) -> None:
    """Without them there is no start: each is named, and there is no traceback."""
    command = command_of(project)
    variables = variables_of(project, environment, f"127.0.0.1:{free_port()}") | {"SECRET_KEY": "", "BIND": "8000"}
    result = subprocess.run(
        command,
        executable=environment / command[0],
        check=False,
        cwd=project,
        env=variables,
        text=True,
        capture_output=True,
        timeout=PROMPT,
    )
    assert result.returncode != 0
    told = result.stdout + result.stderr
    assert "Error: the settings are not fit to start with" in told
    assert re.search(r"(?m)^  BIND: ", told), told
    assert re.search(r"(?m)^  SECRET_KEY is missing$", told), told
    assert "Traceback" not in told
