"""Application servers with the configuration of a project: responses, rejected requests, failures and restarts."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import pytest

from tests.application_servers import (
    STREAMS,
    Connection,
    Upstream,
    application_server,
    command_of,
    is_complete,
    protocol_of,
    variables_of,
)
from tests.conftest import Run
from tests.deployed_project import ALLOW_ANONYMOUS, AUTHORIZATION, SHORT_TIMEOUT
from tests.matrix import (
    DEFAULT,
    DEFAULT_WITH_TOKEN,
    OPTIONS,
    TOKEN_COMBINATIONS,
    Combination,
    Value,
    answers_with,
    parametrize_combinations,
)
from tests.name_servers import silent_name_server
from tests.services import free_port, wait_until


def combination_with_http_client(server: str, **options: Value) -> Combination:
    """Return a combination with an HTTP client: the example with jobs and without a database has one."""
    answers = answers_with(database="none", wsgi_server=server, **options)
    return Combination("-".join(["http-client", *(str(value) for value in (server, *options.values()))]), answers)


def combination_with(server: str, *proxies: str, without: str = "") -> Combination:
    """Return a combination of a server and one of these proxies without one database, preferably with the example."""
    matching = [
        combination
        for combination in TOKEN_COMBINATIONS
        if combination.options["wsgi_server"] == server
        and combination.options["reverse_proxy"] in proxies
        and combination.options["database"] != without
    ]
    return max(
        matching, key=lambda combination: (combination.options["cdn"] == "none", combination.options["example_app"])
    )


GEVENT = combination_with("gunicorn", "none", without="sqlite")
GRANIAN = combination_with("granian", "nginx", "apache")
UWSGI = combination_with("uwsgi", "nginx")
UWSGI_HTTP = combination_with("uwsgi", "none")
SERVED = [DEFAULT_WITH_TOKEN, GEVENT, GRANIAN, UWSGI, UWSGI_HTTP]
WITH_HTTP_CLIENT = [
    combination_with_http_client("gunicorn"),
    combination_with_http_client("gunicorn", reverse_proxy="none"),
    combination_with_http_client("granian"),
    combination_with_http_client("uwsgi"),
]
HTTP_SERVERS = [combination for combination in SERVED if protocol_of(combination) == "http"]
WITH_GUNICORN = [combination for combination in TOKEN_COMBINATIONS if combination.options["wsgi_server"] == "gunicorn"]

# Continuous load: the number of clients, and of responses until a condition counts as observed.
CLIENTS = 6
ENOUGH = 200

PROBE = (
    """

import os
import time

from .core import worker_threads

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


worker_threads.GRACE_PERIOD = 1


@app.get("/probe/sleep/<int:seconds>")
def one_sleep(seconds):
    time.sleep(seconds)
    return {}


@app.get("/probe/loop/<int:seconds>")
def loop(seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.01)
    return {}


@app.get("/probe/stream/<int:seconds>")
def stream(seconds):
    def parts():
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(0.1)
            yield b"x"

    return app.response_class(parts())


@app.post("/probe/upload")
def upload():
    from flask import request

    return {"size": len(request.get_data())}


@app.get("/probe/lookup")
def lookup():
    import socket

    began = time.monotonic()
    try:
        socket.getaddrinfo("service.example.com", 80)
    except OSError as error:
        return {"error": error.errno, "seconds": time.monotonic() - began}


@app.get("/probe/client")
def client():
    from flask import request

    return {"client": request.remote_addr, "scheme": request.scheme}
"""
    + STREAMS
)

CALL = """

from .core import http_client


@app.get("/probe/call")
def call():
    from flask import request

    try:
        return {"status": http_client.fetch(request.args["url"]).status}
    except http_client.UnreachableError:
        return {"status": 0}
"""

Serve = Callable[..., AbstractContextManager[Upstream]]


@pytest.fixture
def serve(combination: Combination, venv_bin: Path, tmp_path: Path) -> Serve:
    """Return a function that starts the server of a combination in a project."""

    def serve(project: Path, **settings: str) -> AbstractContextManager[Upstream]:
        return application_server(project, combination, venv_bin, tmp_path / "log", **settings)  # type: ignore[arg-type]

    return serve


@pytest.fixture
def probed(workspace: Path) -> Path:
    """A project with additional views for tests."""
    (module,) = workspace.glob("src/*/wsgi.py")
    module.write_text(module.read_text(encoding="utf-8") + PROBE, encoding="utf-8")
    return workspace


def test_every_server_is_tested() -> None:
    """The combinations in this module contain every server."""
    assert {combination.options["wsgi_server"] for combination in SERVED} == {*OPTIONS["wsgi_server"]}


@parametrize_combinations(WITH_GUNICORN)
def test_configuration_is_accepted(project: Path, venv_bin: Path, run: Run) -> None:
    """The server's own check reads the configuration and loads the application."""
    command = [venv_bin / "python", *command_of(project)[1:], "--check-config"]
    result = run(*command, cwd=project, **variables_of(project, venv_bin, "127.0.0.1:0"))
    assert result.returncode == 0, result.stderr
    assert not re.search("(?i)warn", result.stderr), result.stderr


@parametrize_combinations(SERVED)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_server_responds(
    combination: Combination, project: Path, serve: Serve, run: Run, venv_bin: Path, tmp_path: Path, kind: str
) -> None:
    """The server serves a page, a static file, the API, an error and an upload, and writes only its socket and data."""
    before = sorted(project.rglob("*"))
    bind = f"unix:{tmp_path}/socket" if kind == "unix" else f"127.0.0.1:{free_port()}"
    prefix = "/shop" if kind == "unix" else ""
    has_catalog = combination.options["database"] != "none" and combination.options["example_app"]
    database = f"sqlite:///{tmp_path}/production.sqlite3"
    if has_catalog:
        (package,) = (path.parent.name for path in project.glob("src/*/wsgi.py"))
        variables = variables_of(project, venv_bin, bind) | {"DATABASE_URL": database}
        for words in (["alembic", "upgrade", "head"], ["flask", "--app", f"{package}.wsgi", "seed"]):
            result = run(venv_bin / words[0], *words[1:], cwd=project, **variables)
            assert result.returncode == 0, result.stderr

    hosts = "127.0.0.1,EXAMPLE.com.,[::1]"
    is_trusting = combination.options["cdn"] == "none"
    trust = {"TRUSTED_PROXY_HOPS": "1", "TRUSTED_PROXY_PREFIX": "1"} if is_trusting else {}
    addresses = {"DATABASE_URL": database, "URL_PREFIX": prefix, "ALLOWED_HOSTS": hosts}
    with serve(project, bind=bind, **addresses, **trust) as server:
        for host, status in (("[::1]:8000", 200), ("Example.com:80", 200), ("evil.example", 400)):
            assert server.request(f"{prefix}/docs", Host=host).status == status, host
        pages = {"/docs": "text/html", "/docs/docs.js": "text/javascript", "/docs/openapi.json": "application/json"}
        if combination.options["web_pages"]:
            pages["/"] = "text/html"
            pages["/static/style.css"] = "text/css"
        for path, kind_of_page in pages.items():
            response = server.request(f"{prefix}{path}")
            assert response.status == 200, path
            assert response.headers.get_content_type() == kind_of_page, path
            assert response.headers["X-Request-ID"], path
        assert server.request("/nowhere").status == 404
        document = json.loads(server.request(f"{prefix}/docs/openapi.json").text)
        assert document.get("servers", [{"url": ""}]) == [{"url": prefix}]
        headers = {"Accept": "text/html", "X-Forwarded-Prefix": "/outer"}
        outer = "/outer" if is_trusting else ""
        assert f'src="{outer}{prefix}/docs/docs.js"' in server.request(f"{prefix}/docs", "GET", b"", **headers).text
        (health,) = project.glob("deploy/health_*.py")
        assert run(venv_bin / "python", "-IS", health, cwd=project, BIND=bind).returncode == 0

        if has_catalog:
            categories = json.loads(server.request("/api/v1/categories").text)
            product = {"sku": "KITE", "name": "Kite", "price_cents": 1250, "category_id": categories[0]["id"]}
            body = json.dumps(product).encode()
            sent = {"Content-Type": "application/json", **AUTHORIZATION}
            response = server.request("/api/v1/products", "POST", body, **sent)
            assert response.status == 201, response.text
            assert response.headers["Location"].startswith(f"{prefix}/api/v1/products/")
            assert json.loads(server.request(response.headers["Location"]).text)["sku"] == "KITE"

    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert not re.search(r"Traceback|\[ERROR\]|\"level\":\"error\"", log), log
    # The warning about views that anyone may change data with is logged once, whatever the number of processes.
    methods = {method for path in document["paths"].values() for method in path}
    has_open_writes = combination.options["auth"] == "none" and methods != {"get"}
    assert log.count("operations without authentication") == has_open_writes, log
    # Only the application logs requests, since a reverse proxy may log them, too.
    assert log.count("/docs/docs.js") == 1, log
    assert sorted(project.rglob("*")) == before


def exchange(server: Upstream, request: bytes, timeout: float = SHORT_TIMEOUT) -> bytes:
    """Send bytes and return the response until the server closes the connection; nothing if it aborts."""
    received = b""
    with suppress(ConnectionError), server.connect(timeout) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        while part := connection.recv(65_536):
            received += part
    return received


def post(headers: str, body: str) -> bytes:
    """Return a request whose body contains another request, which request smuggling would execute."""
    smuggled = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Smuggled: yes\r\n\r\n"
    return f"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n{body}{smuggled}".encode()


AMBIGUOUS_REQUESTS = {
    "length and chunks": post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "two lengths": post("Content-Length: 4\r\nContent-Length: 0\r\n", ""),
    "a bad chunk": post("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"),
    "an unknown coding": post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    "a length with a sign": post("Content-Length: +0\r\n", ""),
    "a folded header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Folded: a\r\n b\r\n\r\n",
}
TOO_LARGE_REQUESTS = {
    "request line": b"GET /?" + 100_000 * b"x" + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + 100_000 * b"x" + b"\r\n\r\n",
    "headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    "body": b"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n",
}
INCOMPLETE_REQUEST = b"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhello"


@parametrize_combinations(HTTP_SERVERS)
def test_malformed_requests_are_rejected(combination: Combination, probed: Path, serve: Serve) -> None:
    """Too large, ambiguous and incomplete requests are rejected.

    The same server is checked for `100 Continue`, responses that end early, and a forged client address.
    """
    addresses = probed / "addresses.conf"
    addresses.write_text("127.0.0.0/8\n", encoding="utf-8")
    with serve(probed, TRUSTED_PROXY_HOPS="1", CDN_ADDRESSES=str(addresses)) as server:
        check_expect_continue(server)
        check_incomplete_streams(server, combination)
        check_underscore_headers(server, combination)
        if combination in WITH_GUNICORN:
            check_unread_body(server)
        for name, request in TOO_LARGE_REQUESTS.items():
            received = exchange(server, request)
            # uWSGI closes the connection without a response to headers that it does not accept.
            assert re.match(rb"HTTP/1.1 4\d\d ", received) or (combination == UWSGI_HTTP and not received), (
                name,
                received,
            )
        for name, request in AMBIGUOUS_REQUESTS.items():
            received = exchange(server, request)
            if combination == UWSGI_HTTP:
                assert received.count(b"HTTP/1.1 ") == 1, (name, received)
            else:
                assert re.match(rb"HTTP/1.1 (4\d\d|501) ", received), (name, received)
                assert received.count(b"HTTP/1.1 ") == 1, (name, received)
        with server.connect() as connection:
            connection.sendall(INCOMPLETE_REQUEST)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(15) in (b"HTTP/1.1 400 Ba", b"HTTP/1.1 400 BA", b"")
        assert server.request("/probe/upload", "POST", b"x" * 100_000).text == '{"size":100000}'
        assert server.request("/health/live").status == 200


def check_expect_continue(server: Upstream) -> None:
    """Send a body only after `100 Continue`; uWSGI's router requires `http-manage-expect`."""
    with server.connect(SHORT_TIMEOUT) as connection:
        head = "POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode())
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        with connection.makefile("rb") as file:
            assert file.read().endswith(b'{"size":5}')


def check_incomplete_streams(server: Upstream, combination: Combination) -> None:
    """Check that clients detect an aborted stream: always with a length, otherwise if the server sends chunks."""

    def stream(path: str) -> bool:
        return is_complete(Connection(server.bind, SHORT_TIMEOUT), f"/probe/body/{path}", Host="127.0.0.1")

    assert stream("whole")
    assert stream("whole?length")
    assert not stream("fails?length")
    assert not stream("short?length")
    # pyuwsgi 2.0.30 does not send chunks: docs/streaming.md of a project says what to do.
    assert stream("fails") == (combination == UWSGI_HTTP)


def check_unread_body(server: Upstream) -> None:
    """Send a long body that the application does not read: the server closes the connection early.

    gunicorn with gevent read it all: 300 such clients delayed `/health/live` by 35 s.
    """
    length, sent = 100_000_000, 0
    with server.connect(SHORT_TIMEOUT) as connection, suppress(ConnectionError):
        connection.sendall(f"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode())
        while sent < length:
            sent += connection.send(b"x" * 65_536)
    assert sent < length / 4, sent


TRUSTED_CLIENT = {
    # gunicorn 27.0 drops names with an underscore.
    "gunicorn": "203.0.113.7",
    # pyuwsgi 2.0.30 joins both to a list, which the application does not trust.
    "uwsgi": "127.0.0.1",
    # granian 2.8.9 uses the last one. Its documentation says how to configure the load balancer.
    "granian": "6.6.6.6",
}


def check_underscore_headers(server: Upstream, combination: Combination) -> None:
    """Forge a client address by `X_Forwarded_For` behind a load balancer that forwards the header."""
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    data = json.loads(server.request("/probe/client", "GET", b"", **forwarded).text)
    assert data == {"client": "203.0.113.7", "scheme": "https"}
    forged = json.loads(server.request("/probe/client", "GET", b"", **forwarded, X_Forwarded_For="6.6.6.6").text)
    assert forged["client"] == TRUSTED_CLIENT[str(combination.options["wsgi_server"])]


@parametrize_combinations([GEVENT])
def test_slow_clients_do_not_block_others(probed: Path, serve: Serve) -> None:
    """200 clients never complete their headers, and 200 never complete their bodies."""
    starts = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", INCOMPLETE_REQUEST)
    with serve(probed) as server:
        clients = [server.connect() for _ in range(200) for _ in starts]
        for number, client in enumerate(clients):
            client.sendall(starts[number % 2])
        connection = Connection(server.bind, SHORT_TIMEOUT)
        for _ in range(20):
            connection.request("GET", "/probe")
            assert json.loads(connection.getresponse().read())["process"] in server.workers()
        connection.close()
        for client in clients:
            client.close()


@parametrize_combinations([GEVENT])
def test_slow_bodies_have_a_memory_limit(probed: Path, serve: Serve) -> None:
    """150 clients send 0.9 MB of a body and stop: some are buffered, the others get 503."""
    head = b"POST /probe/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"

    def resident() -> int:
        texts = [Path(f"/proc/{worker}/status").read_text(encoding="utf-8") for worker in server.workers()]
        return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in texts)

    with serve(probed) as server, ExitStack() as stack, ThreadPoolExecutor(30) as pool:
        with continuous_load(server) as load_test:
            load_test.until(lambda: len(server.workers() & {*load_test.responses}) == 2)
        before = resident()

        def send(_: int) -> socket.socket:
            client = server.connect()
            client.settimeout(0.5)
            with suppress(OSError):
                client.sendall(head + b"x" * 900_000)
            return client

        for client in pool.map(send, range(150)):
            stack.enter_context(client)
        wait_until(lambda: server.log.read_text(encoding="utf-8").count('"status":503') > 100, server.process)
        assert resident() - before < 80_000
        assert server.request("/probe").status == 200


@parametrize_combinations(SERVED)
def test_stop_waits_for_running_requests(probed: Path, serve: Serve) -> None:
    """Running requests get a response, and no process or socket remains."""
    with serve(probed) as server, ThreadPoolExecutor() as clients:
        with continuous_load(server) as load_test:
            # A gunicorn worker that is not ready yet misses the signal and is killed after the graceful timeout.
            load_test.until(lambda: len(server.workers() & {*load_test.responses}) == 2)
        running = clients.submit(server.request, "/probe/slow")
        wait_until(lambda: "asleep" in server.log.read_text(encoding="utf-8"), server.process)
        server.process.terminate()
        assert running.result().status == 200
        assert server.process.wait(SHORT_TIMEOUT) == 0
    assert not server.workers()


@parametrize_combinations([DEFAULT, GEVENT, GRANIAN, UWSGI])
def test_late_requests_end_at_timeout(combination: Combination, probed: Path, serve: Serve) -> None:
    """Python code is interrupted with 503; C code ends the process. Other requests succeed; streams may take longer."""
    with serve(probed, WEB_TIMEOUT="2") as server, ThreadPoolExecutor() as clients:

        def timed_request(path: str) -> tuple[int, float]:
            began = time.monotonic()
            try:
                status = server.request(path).status
            except (OSError, HTTPException):
                status = 0
            return status, time.monotonic() - began

        status, took = timed_request("/probe/loop/6")
        assert (status, took < 3.5) == (503, True), took
        with continuous_load(server) as load_test:
            load_test.until_more()
            old = server.workers()
            interrupted = clients.submit(timed_request, "/probe/loop/6")
            streamed = clients.submit(server.request, "/probe/stream/4")
            status, took = interrupted.result()
            assert (status, took < 3.9) == (503, True), took
            assert len(streamed.result().text) > 10
            assert server.workers() == old
            stuck = clients.submit(timed_request, "/probe/sleep/30")
            if combination == GEVENT:
                # Under gevent `sleep` is Python code.
                assert stuck.result()[0] == 503
            else:
                status, took = stuck.result()
                assert (status, took < 17) == (0, True), took
                load_test.until(lambda: server.workers() != old and len(server.workers()) == len(old))
            load_test.until_more()
        # On Linux each granian worker has its own accept queue, which is lost with the worker.
        assert len(load_test.failed) <= (CLIENTS if combination == GRANIAN else 0), load_test.failed
    assert "in one_sleep" in server.log.read_text(encoding="utf-8")


@parametrize_combinations([DEFAULT, GRANIAN, UWSGI])
def test_liveness_probe_succeeds_while_all_requests_hang(probed: Path, serve: Serve) -> None:
    """A request for the last thread is rejected; a burst of fast requests succeeds."""
    with serve(probed) as server, ThreadPoolExecutor(100) as clients:
        hanging = [clients.submit(server.request, "/probe/sleep/3") for _ in range(60)]
        while not all(one.done() for one in hanging):
            began = time.monotonic()
            assert server.request("/health/live").status == 200
            assert time.monotonic() - began < 2  # expected: 1 s without other load
            time.sleep(0.1)
        statuses = Counter(one.result().status for one in hanging)
        assert statuses.keys() == {200, 503}
        assert statuses[200] >= 4  # one process may get all of them
        assert {one.result().headers["Retry-After"] for one in hanging if one.result().status == 503} == {"5"}
        assert {one.status for one in clients.map(server.request, ["/probe"] * 400)} == {200}


class UnresponsiveServer(ThreadingHTTPServer):
    """A server that accepts connections and responds only after `serve_forever` starts."""

    request_queue_size = 100

    def handle_error(self, *_: object) -> None:
        """Ignore clients that have disconnected."""


@parametrize_combinations(WITH_HTTP_CLIENT)
def test_request_to_unresponsive_server_times_out(probed: Path, serve: Serve) -> None:
    """While calls of an unresponsive server wait, other requests succeed; calls succeed as soon as it responds."""
    with (probed / next(probed.glob("src/*/wsgi.py"))).open("a", encoding="utf-8") as module:
        module.write(CALL + ALLOW_ANONYMOUS)
    with UnresponsiveServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent, ThreadPoolExecutor(20) as pool:
        path = f"/probe/call?url=http://127.0.0.1:{silent.server_port}/"
        settings = {"HTTP_CLIENT_ALLOWED_NETWORKS": "127.0.0.0/8", "HTTP_CLIENT_ALLOWED_PORTS": str(silent.server_port)}
        with serve(probed, WEB_THREADS="8", HTTP_CLIENT_TIMEOUT="3", **settings) as server:

            def timed_request(path: str) -> tuple[str, float]:
                began = time.monotonic()
                response = server.request(path)
                return f"{response.status} {response.text}", time.monotonic() - began

            calls = [pool.submit(timed_request, path) for _ in range(6)]
            while not all(one.done() for one in calls):
                for url in ("/health/live", "/probe"):
                    text, took = timed_request(url)
                    assert (text[:3], took < 2) == ("200", True), took  # expected: 1 s without other load
                time.sleep(0.1)
            assert {one.result()[0] for one in calls} == {'200 {"status":0}'}
            assert min(one.result()[1] for one in calls) > 2
            assert max(one.result()[1] for one in calls) < 4  # expected: 3 s without other load
            serving = pool.submit(silent.serve_forever)
            assert timed_request(path)[0] == '200 {"status":501}'
            silent.shutdown()
            serving.result()


@parametrize_combinations([DEFAULT, GEVENT, GRANIAN, UWSGI])
def test_silent_name_server_costs_two_seconds(
    combination: Combination, probed: Path, serve: Serve, venv_bin: Path, run: Run, tmp_path: Path
) -> None:
    """Without `RES_OPTIONS` a lookup would take 10 s. Other requests succeed meanwhile, also with a database."""
    starter = silent_name_server(tmp_path)
    database = "postgresql://user:password@service.example.com/name" if combination == DEFAULT else "sqlite://"
    bind = f"unix:{tmp_path}/socket"
    with (
        serve(probed, bind=bind, starter=starter, DATABASE_URL=database) as server,
        ThreadPoolExecutor() as clients,
    ):
        lookups = [clients.submit(server.request, "/probe/lookup") for _ in range(3)]
        # Only one: others would wait for its failure and then resolve the name themselves.
        queries = [clients.submit(server.request, "/api/v1/products")] if combination == DEFAULT else []
        began = time.monotonic()
        while not all(one.done() for one in lookups + queries):
            started = time.monotonic()
            assert server.request("/health/live").status == 200
            assert time.monotonic() - started < 1.5  # expected: 1 s without other load
            time.sleep(0.1)
        assert time.monotonic() - began < 4  # expected: 2 s without other load
        assert {one.result().status for one in queries} <= {503}
        data = [json.loads(one.result().text) for one in lookups]
        assert {one["error"] for one in data} == {socket.EAI_AGAIN}
        assert all(1.5 < one["seconds"] < 3 for one in data)
        if combination == DEFAULT:
            command = [*starter, venv_bin / "alembic", "check"]
            variables = variables_of(probed, venv_bin, bind)
            times = [time.monotonic()]
            for url in ("sqlite://", database):
                result = run(*command, cwd=probed, **variables | {"DATABASE_URL": url})
                times.append(time.monotonic())
            assert "name resolution" in result.stderr
            # The first command shows what the start takes, with the load of this machine.
            assert times[2] - times[1] < 6 + (times[1] - times[0])


class ContinuousLoad:
    """Clients that send requests continuously."""

    def __init__(self, server: Upstream, *, keep_alive: bool) -> None:
        """Each client opens a connection per request, or uses one keep-alive connection."""
        self.server, self.keep_alive, self.done = server, keep_alive, Event()
        self.responses: Counter[int] = Counter()
        self.failed: list[str] = []

    def send_requests(self) -> None:
        """Send requests until `done` is set; count the responses by process, and the errors."""
        connection = Connection(self.server.bind, SHORT_TIMEOUT)
        while not self.done.is_set():
            try:
                if self.keep_alive:
                    connection.request("GET", "/probe")
                    data = json.loads(connection.getresponse().read())
                else:
                    data = json.loads(self.server.request("/probe").text)
                self.responses[data["process"]] += 1
            except (OSError, HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
        connection.close()

    def until(self, condition: Callable[[], bool]) -> None:
        """Continue until a condition is true."""
        wait_until(condition, self.server.process)

    def until_more(self, by: set[int] | None = None) -> None:
        """Continue until there are twice as many responses, optionally of certain processes."""
        before = self.responses.copy()
        self.until(lambda: sum((self.responses - before)[one] for one in by or {*self.responses}) > ENOUGH)


@contextmanager
def continuous_load(server: Upstream, *, keep_alive: bool = False) -> Iterator[ContinuousLoad]:
    """Send requests to a server within a `with` block."""
    load_test = ContinuousLoad(server, keep_alive=keep_alive)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load_test.send_requests) for _ in range(CLIENTS)]
        try:
            yield load_test
        finally:
            load_test.done.set()
        for client in clients:
            client.result()


def are_replaced(server: Upstream, old: set[int], number: int = 0) -> bool:
    """Return whether all old workers have been replaced."""
    workers = server.workers()
    return not old & workers and len(workers) == (number or len(old))


@parametrize_combinations([DEFAULT, GEVENT, GRANIAN, UWSGI])
def test_reload_loses_no_request(combination: Combination, probed: Path, serve: Serve) -> None:
    """SIGHUP under load replaces all workers, and all requests succeed."""
    with serve(probed) as server:
        for keep_alive in (False, True) if protocol_of(combination) == "http" and combination != GRANIAN else (False,):
            with continuous_load(server, keep_alive=keep_alive) as load_test:
                load_test.until_more()
                old = server.workers()
                server.process.send_signal(signal.SIGHUP)
                load_test.until(partial(are_replaced, server, old))
                load_test.until_more(server.workers())
            # A granian worker that stops closes connections that it has accepted but not read yet.
            assert len(load_test.failed) <= (4 if combination == GRANIAN else 0), load_test.failed


@parametrize_combinations(SERVED)
def test_killed_worker_costs_only_its_requests(probed: Path, serve: Serve) -> None:
    """A killed worker and its killed successor are replaced, and only their requests fail."""
    with serve(probed) as server, continuous_load(server) as load_test:
        load_test.until(lambda: len(server.workers() & {*load_test.responses}) == 2)
        old = server.workers()
        worker = next(one for one in old if load_test.responses[one])
        for _ in range(2):
            os.kill(worker, signal.SIGKILL)
            load_test.until(partial(are_replaced, server, {worker}, len(old)))
            (worker,) = server.workers() - old
            old = server.workers()
        load_test.until_more()
        load_test.done.set()
    assert len(load_test.failed) <= 10, load_test.failed


@parametrize_combinations([DEFAULT, GEVENT, GRANIAN])
def test_idle_connections_do_not_block_others(combination: Combination, probed: Path, serve: Serve) -> None:
    """Neither 200 connections without a request nor 200 keep-alive connections block others."""
    # Each occupies a thread for five seconds, which is why gthread requires a reverse proxy.
    silent = 4 if combination == DEFAULT else 200
    with serve(probed, WEB_THREADS="2") as server, ExitStack() as idle, ThreadPoolExecutor(32) as clients:
        connections = [idle.enter_context(closing(Connection(server.bind, SHORT_TIMEOUT))) for _ in range(200)]
        for _ in range(silent):
            idle.enter_context(server.connect())

        def timed_request(connection: Connection) -> int:
            connection.request("GET", "/probe")
            response = connection.getresponse()
            response.read()
            return response.status

        assert {*clients.map(timed_request, connections)} == {200}
        for _ in range(20):
            with closing(Connection(server.bind, SHORT_TIMEOUT)) as connection:
                assert timed_request(connection) == 200


@parametrize_combinations([DEFAULT, UWSGI])
def test_python_fork_hooks_run(probed: Path, serve: Serve) -> None:
    """After a fork the application creates new connections."""
    with serve(probed) as server:
        data = json.loads(server.request("/probe").text)
        assert data["forked"] == [data["process"]]


@parametrize_combinations([GRANIAN])
def test_bind_accepts_host_name(project: Path, serve: Serve) -> None:
    """The server itself accepts IP addresses only; host names are resolved before it starts."""
    with serve(project, bind=f"localhost:{free_port()}") as server:
        assert server.request("/health/live").status == 200


@parametrize_combinations([DEFAULT])
def test_debug_mode_rejects_public_addresses(project: Path, venv_bin: Path, run: Run) -> None:
    """The address may be in BIND, in gunicorn's arguments, or in Flask's own variable."""
    flask = ["flask", "--app", f"{next(project.glob('src/*/wsgi.py')).parent.name}.wsgi", "run", "--debug"]
    for command, name, value in (
        (command_of(project), "BIND", "0.0.0.0:0"),
        (command_of(project), "GUNICORN_CMD_ARGS", "--bind 0.0.0.0:0"),
        (flask, "FLASK_RUN_HOST", "192.0.2.1"),
    ):
        variables = variables_of(project, venv_bin, "127.0.0.1:0") | {"FLASK_DEBUG": "1", name: value}
        result = run(venv_bin / command[0], *command[1:], cwd=project, **variables)
        assert result.returncode != 0
        assert "expected a loopback address in debug mode" in result.stderr
        assert "Traceback" not in result.stderr


@parametrize_combinations([DEFAULT])
def test_gunicorn_rejects_script_name(project: Path, venv_bin: Path, run: Run) -> None:
    """With SCRIPT_NAME the container's health check would get 500."""
    command = command_of(project)
    variables = variables_of(project, venv_bin, "127.0.0.1:0") | {"SCRIPT_NAME": "/shop"}
    result = run(venv_bin / command[0], *command[1:], cwd=project, **variables)
    assert result.returncode != 0
    assert "  SCRIPT_NAME: expected URL_PREFIX instead, got '/shop'" in result.stderr


INVALID = {
    "several": (
        {"SECRET_KEY": "", "BIND": "127.0.0.1:65536"},
        r"  SECRET_KEY is missing\n  BIND: expected an address .*, got '127.0.0.1:65536'",
    ),
    "read by the server": ({"WEB_CONCURRENCY": "abc"}, "  WEB_CONCURRENCY: expected a whole number .*, got 'abc'"),
    "read by a component": ({"STATIC_ROOT": "/etc/hosts"}, "  STATIC_ROOT: expected a folder .*, got '/etc/hosts'"),
}


@parametrize_combinations([DEFAULT, GEVENT, GRANIAN, UWSGI, UWSGI_HTTP])
@pytest.mark.parametrize(("settings", "message"), INVALID.values(), ids=INVALID)
def test_invalid_settings_are_the_last_output(
    project: Path, venv_bin: Path, settings: dict[str, str], message: str
) -> None:
    """The server ends with one line per setting, without a traceback."""
    command = command_of(project)
    variables = variables_of(project, venv_bin, f"127.0.0.1:{free_port()}") | settings
    result = subprocess.run(
        command,
        executable=venv_bin / command[0],
        check=False,
        cwd=project,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SHORT_TIMEOUT,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stdout, result.stdout
    title = "Error: missing or invalid settings (see .env.example):"
    assert result.stdout.count(title) == 1, result.stdout
    assert re.fullmatch(message, result.stdout.partition(f"{title}\n")[2].rstrip()), result.stdout
