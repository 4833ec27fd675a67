"""Each proxy in front of each application server, with each CDN: accepted, serving, and hard to harm."""

import base64
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import product
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest
from pytest_cookies.plugin import Cookies

from tests.answers import DEFAULT, OPTIONS, Answers, Row, Value, each
from tests.edge import Upstream, application_server
from tests.proxies import HOST, PROXIES, Proxy, Reply, ask, private_folder, say, send, statuses, trusting
from tests.services import PATIENCE, free_port, wait_until

CDNS = OPTIONS["cdn"]


def row_of(server: Value, proxy: Value, cdn: Value) -> Row:
    """A row of the edge, without what is behind it; every other one has no pages."""
    chosen: Answers = {"wsgi_server": server, "reverse_proxy": proxy, "cdn": cdn}
    behind: Answers = {"database": "none", "cache": "none", "web_pages": CDNS.index(cdn) % 2 == 0}
    return Row(f"{server}-{proxy}-{cdn}", {**DEFAULT.options, **behind, **chosen})


COMBINATIONS = [row_of(*values) for values in product(OPTIONS["wsgi_server"], OPTIONS["reverse_proxy"], CDNS)]

# Each server and each proxy has once a port and once a socket between them, but for granian: of a port each of its
# workers has a queue of its own, and takes it along.
STACKS = {
    f"{server}-{proxy}": (server, proxy, server == "granian" or (number + (proxy == "apache")) % 2 == 0)
    for number, server in enumerate(OPTIONS["wsgi_server"])
    for proxy in PROXIES
}
FIRST = [f"{OPTIONS['wsgi_server'][0]}-{proxy}" for proxy in PROXIES]

# What only tests ask of the application.
PROBE = """

import os
from pathlib import Path
from time import sleep
from typing import Any

from flask import Response, request

from .http_caching import public


@app.route("/probe/echo", methods=["GET", "POST", "PUT"])
def echo() -> dict[str, Any]:
    return {
        "client": request.remote_addr,
        "scheme": request.scheme,
        "host": request.host,
        "id": request.headers["X-Request-ID"],
        "bytes": len(request.get_data()),
        "headers": sorted(request.headers.keys()),
        "process": os.getpid(),
    }


@app.get("/probe/public")
@public()
def made() -> dict[str, str]:
    print("making", request.full_path, flush=True)
    sleep(float(request.args.get("seconds", 0)))
    return {"made": os.urandom(8).hex(), "padding": "x" * int(request.args.get("padding", 0))}


@app.get("/probe/cookie")
@public()
def cookie() -> Response:
    response = app.make_response({"made": os.urandom(8).hex()})
    response.set_cookie("who", "somebody")
    return response


@app.get("/probe/private")
def private() -> dict[str, str]:
    return {"made": os.urandom(8).hex()}


@app.get("/probe/slow")
def slow() -> dict[str, int]:
    sleep(float(request.args["seconds"]))
    return {"process": os.getpid()}


@app.get("/probe/big")
def big() -> Response:
    return Response("x" * int(request.args["bytes"]), mimetype="text/plain")
"""


class Stack(NamedTuple):
    """A proxy, and the application server behind it."""

    proxy: Proxy
    server: Upstream
    project: Path

    @property
    def port(self) -> int:
        """Where the proxy listens without TLS."""
        return self.proxy.http

    def ask(self, path: str, method: str = "GET", *, body: bytes | str | None = None, **headers: str) -> Reply:
        """Ask the proxy."""
        return ask(self.port, path, method=method, body=body, **headers)


def bake(cookies: Cookies, row: Row) -> Path:
    """The render of a row."""
    result = cookies.bake(extra_context=row.context)
    assert result.exception is None, result.exception
    return Path(result.project_path)


@contextmanager
def stack_of(name: str, cookies: Cookies, programs: Path, **variables: str) -> Iterator[Stack]:
    """A proxy and a server, as a project starts them."""
    server, kind, has_socket = STACKS[name]
    row = row_of(server, kind, "none")
    with private_folder() as folder, ExitStack() as stack:
        project = Path(shutil.copytree(bake(cookies, row), folder / "project"))
        (package,) = (project / "src").iterdir()
        with (package / "wsgi.py").open("a") as module:
            module.write(PROBE)
        bind = f"unix:{folder}/application" if has_socket else f"127.0.0.1:{free_port()}"
        proxy = PROXIES[kind](project, folder, bind, **variables)
        static = proxy.public / "static"
        static.mkdir()
        for ending, content in STATIC.items():
            for file in ("style.0123456789ab.css", "sign.0123456789ab.svg"):
                (static / f"{file}{ending}").write_bytes(content)
        (static / "plain.css").write_bytes(STATIC[""])
        (static / "picture.png").write_bytes(b"\x89PNG")
        (static / ".hidden.css").write_bytes(STATIC[""])
        upstream = stack.enter_context(
            application_server(
                project,
                row,
                programs,
                folder / "application.log",
                bind=bind,
                TRUSTED_PROXY_HOPS="1",
                HTTP_CACHE_LIFETIME="2",
            )
        )
        stack.enter_context(proxy.running())
        try:
            yield Stack(proxy, upstream, project)
        except BaseException:
            print(proxy.errors()[-5000:])
            raise


# Large enough to be compressed once more by mistake.
PLAIN = b"body{}" * 1000
STATIC = {"": PLAIN, ".gz": gzip.compress(PLAIN), ".br": b"brotli" * 1000, ".zst": b"zstandard" * 1000}


def stacks(names: Iterable[str]) -> list[object]:
    """Run the module's tests for these stacks, each of which is started once."""
    return [pytest.param(name, id=name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="module", params=stacks(STACKS))
def each_stack(request: pytest.FixtureRequest, cookies_session: Cookies, environment: Path) -> Iterator[Stack]:
    """Each server behind each proxy."""
    with stack_of(request.param, cookies_session, environment) as stack:
        yield stack


@pytest.fixture(scope="module", params=stacks(FIRST))
def stack(request: pytest.FixtureRequest, cookies_session: Cookies, environment: Path) -> Iterator[Stack]:
    """Each proxy, with the first server behind it."""
    with stack_of(request.param, cookies_session, environment) as stack:
        yield stack


# --- the configuration -----------------------------------------------------------------------------


@each(COMBINATIONS)
def test_each_combination_is_accepted(row: Row, project: Path, environment: Path) -> None:
    """By the program itself, without a warning, with TLS and without; and gixy finds nothing."""
    for name in PROXIES:
        assert (project / "deploy" / name).exists() == (name == row.options["reverse_proxy"])
    if row.options["reverse_proxy"] not in PROXIES:
        return
    for site in ("plain", "tls"):
        with private_folder() as folder:
            proxy = PROXIES[str(row.options["reverse_proxy"])](project, folder, "127.0.0.1:8000", SITE=site)
            said = proxy.check()
            assert not re.search(r"\[(warn|error|emerg)|AH\d+", said), said
            if proxy.name == "nginx":
                gixy = [environment / "gixy", proxy.conf / "nginx.conf"]
                found = subprocess.run(gixy, check=False, capture_output=True, text=True)
                assert found.returncode == 0, found.stdout + found.stderr
                assert "No issues found" in found.stdout, found.stdout


@each([row_of(server, proxy, "none") for server, proxy in product(OPTIONS["wsgi_server"], PROXIES)])
def test_times_nest(row: Row, project: Path) -> None:
    """Whoever is in front waits longer for an answer, and gives up an idle connection earlier."""
    deploy = project / "deploy"

    def seconds(pattern: str, *files: str) -> set[float]:
        text = "\n".join((deploy / file).read_text(encoding="utf-8") for file in files)
        found = {float(number) for number in re.findall(pattern, text, re.MULTILINE)}
        assert found, pattern
        return found

    server = str(row.options["wsgi_server"])
    (config,) = project.glob("src/*/config.py")
    told = re.search(r"WEB_TIMEOUT: Positive = (\d+)", config.read_text(encoding="utf-8"))
    assert told
    limit = float(told[1])
    file, kept = {
        "gunicorn": ("gunicorn.conf.py", r"^keepalive = (\d+)"),
        "granian": ("granian_server.py", r"header_read_timeout=(\d+)_000"),
        "uwsgi": ("uwsgi_settings.py", ""),
    }[server]
    assert re.search(r"settings\.WEB_TIMEOUT", (deploy / file).read_text(encoding="utf-8"))
    if row.options["reverse_proxy"] == "nginx":
        gateway = "nginx/uwsgi.conf" if server == "uwsgi" else "nginx/proxy.conf"
        waits = seconds(r"_read_timeout (\d+)s;", gateway)
        stops = seconds(r"worker_shutdown_timeout (\d+)s;", "nginx/nginx.conf")
        idle = r"^    keepalive_timeout (\d+)s;", "nginx/templates/application.conf.template"
    else:
        waits = seconds(r"(?:\btimeout=|^ProxyTimeout )(\d+)", "apache/application.conf")
        stops = seconds(r"GracefulShutdownTimeout (\d+)", "apache/httpd.conf")
        idle = r"ttl=(\d+)", "apache/application.conf"
    assert limit < min(waits) <= max(waits) < min(stops)
    if server == "gunicorn":
        assert max(seconds(*idle)) < min(seconds(kept, file))


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_examples_imports_may_be_larger(proxy: str, cookies: Cookies) -> None:
    """What is passed on is answered by nobody here; what is too large by the proxy itself."""
    project = bake(cookies, Row(proxy, {**DEFAULT.options, "reverse_proxy": proxy}))
    with private_folder() as folder:
        alone = PROXIES[proxy](project, folder, f"127.0.0.1:{free_port()}")
        assert not re.search(r"\[(warn|error|emerg)|AH\d+", said := alone.check()), said
        with alone.running():
            imports = "/api/v1/products/imports"
            assert ask(alone.http, imports, method="POST", body=b"x" * 3_000_000).status in {502, 503}
            assert ask(alone.http, "/api/v1/products", method="POST", body=b"x" * 3_000_000).status == 413
            assert statuses(
                send(alone.http, head(f"POST {imports} HTTP/1.1", Content_Length="60000000"), until=b"\n")
            ) == [413]


# --- serving ---------------------------------------------------------------------------------------


def test_a_browser_is_served(each_stack: Stack) -> None:
    """A page, a static file, the API, an error, an upload, a probe."""
    page = each_stack.ask("/", Accept="text/html")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "content-security-policy" in page.headers
    assert "<h1>" in page.text

    api = each_stack.ask("/api/v1/primes?below=100")
    assert api.status == 200
    assert json.loads(api.text) == {"below": 100, "primes": 25}

    style = each_stack.ask("/static/style.0123456789ab.css")
    assert (style.status, style.body) == (200, STATIC[""])

    for path, method, status in (("/nowhere", "GET", 404), ("/api/v1/primes", "POST", 405), ("/docs", "GET", 200)):
        answer = each_stack.ask(path, method=method)
        assert answer.status == status
        assert "content-security-policy" in answer.headers
    assert "<h1>Not Found</h1>" in each_stack.ask("/nowhere", Accept="text/html").text

    for size in (10, 100_000, 1_000_000):
        upload = each_stack.ask("/probe/echo", method="POST", body=b"x" * size)
        assert json.loads(upload.text)["bytes"] == size
    assert each_stack.ask("/health/ready").status == 200
    assert len(each_stack.ask("/probe/big?bytes=3000000").body) == 3_000_000


def test_who_asks_is_known(each_stack: Stack) -> None:
    """What a client says of itself is not believed: neither by the application nor in the log."""
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Request-ID": "forged-forged",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil.test",
        "X-Forwarded-Prefix": "/evil",
    }
    raw = "".join(f"{name}: {value}\r\n" for name, value in forged.items())
    raw += "".join(f"{name.replace('-', '_')}: {value}\r\n" for name, value in forged.items() if "-" in name)
    answer = send(
        each_stack.port,
        f"GET /probe/echo?secret=1 HTTP/1.1\r\nHost: {HOST}\r\n{raw}Connection: close\r\n\r\n".encode(),
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(head) == [200]
    told = json.loads(body)
    assert (told["client"], told["scheme"], told["host"]) == ("127.0.0.1", "http", HOST)
    assert told["id"] not in {"", "forged-forged"}
    assert not {"Forwarded", "Proxy", "X-Forwarded-Prefix"} & {*told["headers"]}
    assert re.findall(rb"(?i)x-request-id: ([\w.-]+)", head) == [told["id"].encode()]

    wait_until(lambda: any(line["request_id"] == told["id"] for line in each_stack.proxy.logged()))
    (line,) = (line for line in each_stack.proxy.logged() if line["request_id"] == told["id"])
    assert (line["client"], line["path"], line["status"]) == ("127.0.0.1", "/probe/echo", 200)
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd;q=0.5", "zstd"),
        ("br;q=0, gzip", "gzip"),
        ("GZIP;q=1.0", "gzip"),
        ("gzip;q=0, brotli, *;q=0.0", ""),
        ("identity", ""),
        ("", ""),
    ],
)
def test_static_files_come_encoded(stack: Stack, accepted: str, encoding: str) -> None:
    """In the best encoding that was made and that the client takes, and to be kept for ever."""
    ending = {"br": ".br", "zstd": ".zst", "gzip": ".gz", "": ""}[encoding]
    style = stack.ask("/static/style.0123456789ab.css", Accept_Encoding=accepted)
    assert (style.status, style.body) == (200, STATIC[ending])
    assert style.headers.get("content-encoding", "") == encoding
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert style.headers["vary"] == "Accept-Encoding"
    assert style.headers["access-control-allow-origin"] == "*"
    assert style.headers["x-content-type-options"] == "nosniff"


def test_static_files_are_compressed_once(stack: Stack) -> None:
    """What a build has compressed is sent as it is, whatever its type."""
    sign = stack.ask("/static/sign.0123456789ab.svg", Accept_Encoding="gzip, br")
    assert (sign.headers["content-encoding"], sign.body) == ("br", STATIC[".br"])
    assert sign.headers["content-type"] == "image/svg+xml"


def test_static_files_come_from_disk(stack: Stack) -> None:
    """Whole, in part or not at all, if the client has them; what is not there the application is asked for."""
    first = stack.ask("/static/plain.css", Accept_Encoding="br")
    assert first.headers["cache-control"] == "public, no-cache"
    assert "content-encoding" not in first.headers
    assert stack.ask("/static/plain.css", If_None_Match=first.headers["etag"]).status == 304
    part = stack.ask("/static/plain.css", Range="bytes=0-3")
    assert (part.status, part.body) == (206, b"body")
    assert stack.ask("/static/picture.png").headers["content-type"] == "image/png"
    assert stack.ask("/static/icon.svg").status == 200
    asked = stack.server.log.read_text(encoding="utf-8")
    assert "/static/icon.svg" in asked
    assert "/static/plain.css" not in asked


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/.git/config",
        "/static/.hidden.css",
        "/static/../conf/tls/privkey.pem",
        "/static/%2e%2e/conf/tls/privkey.pem",
        "/static/..%2fconf/tls/privkey.pem",
        "/static//../../conf/tls/privkey.pem",
        "/static/%2ehidden.css",
        "/docs/swagger/.env",
    ],
)
def test_hidden_files_stay_hidden(stack: Stack, path: str) -> None:
    """Neither names that begin with a dot nor paths that leave the folder."""
    (answer,) = statuses(send(stack.port, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()))
    assert answer in {400, 404}


# --- what the proxy answers itself -----------------------------------------------------------------

SECURITY = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def check_error(page: Reply, problem: Reply, status: int) -> None:
    """Make sure that an error of the proxy is as the application's: for people, for programs, safe."""
    for answer in (page, problem):
        assert answer.status == status
        assert SECURITY.items() <= answer.headers.items()
        assert re.fullmatch(r"[\w.-]{8,64}", answer.headers["x-request-id"])
        assert not re.search(r"(?i)nginx/|apache/|debian", f"{answer.headers}{answer.text}")
    assert problem.headers["content-type"] == "application/problem+json"
    told = json.loads(problem.text)
    assert told["status"] == status
    assert told["title"]
    assert told["request_id"] == problem.headers["x-request-id"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-request-id"] in page.text
    (style,) = re.findall(r"<style>(.*?)</style>", page.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]


def both(stack: Stack, path: str, method: str = "GET", **headers: str) -> tuple[Reply, Reply]:
    """Ask as a browser and as a program."""
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    return stack.ask(path, method=method, Accept=browser, **headers), stack.ask(
        path, method=method, Accept="*/*", **headers
    )


def test_its_own_errors_are_as_the_applications(stack: Stack) -> None:
    """Pages for browsers, problems for programs, with all security headers."""
    check_error(*both(stack, "/.env"), 404)
    check_error(*both(stack, "/", Host="elsewhere.test"), 421)
    too_large = {"method": "POST", "Content_Length": "2000000", "Content_Type": "application/json"}
    check_error(*both(stack, "/probe/echo", **too_large), 413)
    assert stack.ask("/health/live", Host="10.0.0.1").status == 200


def test_maintenance(stack: Stack) -> None:
    """While the file is there all but probes and static files is closed."""
    stack.proxy.closed.touch()
    try:
        page, problem = both(stack, "/")
        check_error(page, problem, 503)
        assert int(page.headers["retry-after"]) > 0
        assert "maintenance" in page.text
        assert stack.ask("/health/live").status == stack.ask("/static/plain.css").status == 200
    finally:
        stack.proxy.closed.unlink()
    assert stack.ask("/").status == 200


def test_log_is_json(stack: Stack) -> None:
    """Whatever a client sends; and it tells who asked, and how long the application took."""
    odd = b'GET /nowhere/%22?q=" HTTP/1.1\r\nHost: ' + HOST.encode() + b'\r\nUser-Agent: a"b\\c\xc3\x28\xa9\r\n'
    for end in (b"Connection: close\r\n\r\n", b"X: \x01\r\nConnection: close\r\n\r\n"):
        send(stack.port, odd + end)
    stack.ask("/probe/slow?seconds=0.2")
    wait_until(lambda: any(line["path"] == "/probe/slow" for line in stack.proxy.logged()))
    lines = stack.proxy.logged()
    assert any(line["path"] == "/nowhere/%22" for line in lines)
    (slow,) = (line for line in lines if line["path"] == "/probe/slow")
    took = float(str(slow.get("application_seconds") or float(str(slow["first_byte_microseconds"])) / 1e6))
    assert 0.2 <= took < PATIENCE
    assert {"timestamp", "request_id", "client", "method", "status", "bytes", "user_agent"} <= slow.keys()
    stack.ask("/health/live")
    stack.ask("/probe/slow?seconds=0")
    wait_until(lambda: stack.proxy.logged()[-1]["path"] == "/probe/slow")
    assert not any(line["path"] == "/health/live" and line["status"] == 200 for line in stack.proxy.logged())


# --- compression -----------------------------------------------------------------------------------


def test_dynamic_text_is_compressed_once(stack: Stack) -> None:
    """What is large enough and text; an `ETag` still spares the body."""
    plain = stack.ask("/probe/public?padding=5000")
    packed = stack.ask("/probe/public?padding=5000", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 10
    assert json.loads(gzip.decompress(packed.body)).keys() == {"made", "padding"}
    for answer in (plain, packed):
        assert "accept-encoding" in answer.headers["vary"].lower()
        again = stack.ask("/probe/public?padding=5000", Accept_Encoding="gzip", If_None_Match=answer.headers["etag"])
        assert again.status == 304
    assert "content-encoding" not in stack.ask("/probe/private", Accept_Encoding="gzip").headers or (
        stack.proxy.name == "apache"
    )


# --- the micro cache -------------------------------------------------------------------------------


def made(answer: Reply) -> str:
    """What the application made up for an answer."""
    assert answer.status == 200
    return str(json.loads(answer.text)["made"])


def test_public_answers_are_kept(stack: Stack) -> None:
    """For a while, for all, by their whole address; each answer has the id of its own request."""
    first, second = stack.ask("/probe/public?a=1"), stack.ask("/probe/public?a=1")
    assert made(first) == made(second) != made(stack.ask("/probe/public?a=2"))
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert made(stack.ask("/probe/public?a=1", Cache_Control="no-cache", Pragma="no-cache")) == made(first)
    assert stack.ask("/probe/public?a=1", If_None_Match=first.headers["etag"]).status == 304
    assert stack.ask("/probe/public?a=1", method="HEAD").status == 200


@pytest.mark.parametrize("who", [{"Cookie": "session=1"}, {"Authorization": "Bearer x"}, {"Cookie": "0"}])
def test_nothing_personal_is_kept(stack: Stack, who: dict[str, str]) -> None:
    """Who is known gets nothing that was kept, and nothing of theirs is kept for others."""
    address = f"/probe/public?who={next(iter(who.values())).replace(' ', '')}"
    mine = stack.ask(address, **who)
    assert mine.headers["cache-control"] == "private, no-cache"
    others = stack.ask(address)
    assert made(mine) != made(others)
    assert made(others) == made(stack.ask(address))
    assert made(stack.ask(address, **who)) not in {made(mine), made(others)}


def test_what_is_not_public_is_not_kept(stack: Stack) -> None:
    """Neither what no view has called public, nor what sets a cookie."""
    for path in ("/probe/private", "/probe/cookie"):
        assert made(stack.ask(path)) != made(stack.ask(path))
    assert "set-cookie" in stack.ask("/probe/cookie").headers


def test_one_request_renews(stack: Stack) -> None:
    """What is too old: the others get it meanwhile, at once, however slow the application is."""
    address = "/probe/public?seconds=2"

    def makings() -> int:
        return stack.server.log.read_text(encoding="utf-8").count(f"making {address}")

    old = made(stack.ask(address))
    assert makings() == 1
    with ThreadPoolExecutor(64) as clients:
        early = []

        def is_renewed() -> bool:
            early.append(clients.submit(stack.ask, address))
            return makings() == 2

        wait_until(is_renewed)
        began = time.monotonic()
        answers = [*clients.map(stack.ask, [address] * 8)]
        assert time.monotonic() - began < 1.5
        assert {made(answer) for answer in answers} == {old}
        assert makings() == 2
        assert len([answer for answer in early if made(answer.result()) != old]) <= 1
    wait_until(lambda: made(stack.ask(address)) != old)


def test_nobody_waits_for_others(stack: Stack) -> None:
    """Many who ask at once for one address of which nothing can be kept are answered at once."""
    with ThreadPoolExecutor(8) as clients:
        began = time.monotonic()
        answers = [*clients.map(stack.ask, ["/probe/slow?seconds=0.5"] * 8)]
        assert time.monotonic() - began < 3
    assert {answer.status for answer in answers} == {200}


# --- what clients may do ---------------------------------------------------------------------------


def head(line: str = "POST /probe/echo HTTP/1.1", **headers: str) -> bytes:
    """The head of a request."""
    lines = [line, f"Host: {HOST}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


HIDDEN = b"GET /probe/smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"
CHUNKED = {"Transfer_Encoding": "chunked"}
SMUGGLING = {
    "CL and TE": head(Content_Length="5", Transfer_Encoding="chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE and CL": head(Transfer_Encoding="chunked", Content_Length="6") + b"0\r\n\r\n" + HIDDEN,
    "two lengths": head()[:-2] + b"Content-Length: 0\r\nContent-Length: 56\r\n\r\n" + HIDDEN,
    "a list of lengths": head(Content_Length="0, 56") + HIDDEN,
    "a signed length": head(Content_Length="+0") + HIDDEN,
    "a negative length": head(Content_Length="-1") + HIDDEN,
    "a length with a letter": head(Content_Length="0x38") + HIDDEN,
    "space before the colon": head()[:-2] + b"Content-Length : 56\r\n\r\n" + HIDDEN,
    "an unknown coding": head(Transfer_Encoding="xchunked") + b"0\r\n\r\n" + HIDDEN,
    "chunked is not last": head(Transfer_Encoding="chunked, identity") + b"0\r\n\r\n" + HIDDEN,
    "chunked twice": head(Transfer_Encoding="chunked, chunked") + b"0\r\n\r\n" + HIDDEN,
    "two codings": head(**CHUNKED)[:-2] + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding with a control": head(Transfer_Encoding="\x0bchunked") + b"0\r\n\r\n" + HIDDEN,
    "a chunk's size with a letter": head(**CHUNKED) + b"0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "a chunk's size with a sign": head(**CHUNKED) + b"-5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "a chunk too long for a number": head(**CHUNKED) + b"FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "a chunk longer than its size": head(**CHUNKED) + b"3\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "two hosts": head()[:-2] + b"Host: elsewhere.test\r\n\r\n" + HIDDEN,
    "no host": b"GET /probe/echo HTTP/1.1\r\n\r\n" + HIDDEN,
    "a null in a header": head(X="a\0b") + HIDDEN,
    "a carriage return in a header": head(X="a\rContent-Length: 56") + HIDDEN,
    "no name": head()[:-2] + b": 56\r\n\r\n" + HIDDEN,
    "chunked in HTTP/1.0": head("POST /probe/echo HTTP/1.0", **CHUNKED) + b"0\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_smuggling_is_refused(each_stack: Stack, data: bytes) -> None:
    """One answer, a refusal; and what was hidden behind it never reaches the application."""
    answers = statuses(send(each_stack.port, data, within=5))
    assert len(answers) == 1, answers
    assert answers[0] in {400, 411, 501}, answers
    assert "/probe/smuggled" not in each_stack.server.log.read_text(encoding="utf-8")


def test_folded_headers(each_stack: Stack) -> None:
    """Nginx refuses them; Apache takes a fold for a space (RFC 9112, 5.2), so that nobody behind it sees one."""
    folded = head()[:-2] + b"X-Folded: a\r\n Content-Length: 56\r\n\r\n"
    answers = send(each_stack.port, folded + head("GET /health/live HTTP/1.1", Connection="close"))
    if each_stack.proxy.name == "nginx":
        assert statuses(answers) == [400]
    else:
        assert statuses(answers) == [200, 200]
        assert b'"bytes":0' in answers
    first = b"POST /probe/echo HTTP/1.1\r\n Host: example.com\r\n\r\n"
    assert statuses(send(each_stack.port, first)) == [400]


TOO_LARGE = {
    "a request line": (head(f"GET /{'x' * 9000} HTTP/1.1"), {414}),
    "a query": (head(f"GET /?{'x' * 40000} HTTP/1.1"), {414}),
    "a header": (head("GET / HTTP/1.1", X="x" * 9000), {400, 431}),
    "thousands of headers": (head("GET / HTTP/1.1", **{f"X{number}": "x" for number in range(5000)}), {400, 431}),
    "a body": (head(Content_Length="1048577"), {413}),
    "an enormous body": (head(Content_Length="99999999999"), {413}),
    "a chunked body": (head(**CHUNKED) + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40 + b"0\r\n\r\n", {411, 413}),
}


@pytest.mark.parametrize(("data", "expected"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_refused(each_stack: Stack, data: bytes, expected: set[int]) -> None:
    """At once, without a body being waited for, by the proxy itself (of which nginx's log tells)."""
    began = time.monotonic()
    before = len(each_stack.proxy.logged())
    answers = statuses(send(each_stack.port, data, within=5, until=b"\r\n"))
    assert answers[:1], "no answer"
    assert answers[0] in expected
    assert time.monotonic() - began < PATIENCE / 2

    def refused() -> list[dict[str, object]]:
        return [line for line in each_stack.proxy.logged()[before:] if line["status"] == answers[0]]

    wait_until(lambda: bool(refused()))
    assert not any(line.get("application_seconds") for line in refused())


SLOW = {
    "heads": head("GET / HTTP/1.1")[:-2] + b"X: ",
    "bodies": head(Content_Length="100000") + b"x",
    "chunks": head(**CHUNKED) + b"5\r\nh",
    "readers": head("GET /probe/big?bytes=900000 HTTP/1.1"),
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_slow_clients_stop_nobody(each_stack: Stack, data: bytes) -> None:
    """200 of them: a normal one is answered while they are there."""
    with ExitStack() as slow:
        for _ in range(200):
            connection = slow.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", each_stack.port))
            connection.sendall(data)
        for _ in range(20):
            began = time.monotonic()
            assert each_stack.ask("/probe/private").status == 200
            assert time.monotonic() - began < 5


# --- faults of the application server --------------------------------------------------------------


class Load(NamedTuple):
    """What clients heard who asked without a pause."""

    heard: list[tuple[str, int]]
    processes: Counter[int]

    def failed(self) -> list[tuple[str, int]]:
        """What was no success."""
        return [one for one in self.heard if one[1] != 200]


@contextmanager
def load(stack: Stack, clients: int = 6, *, is_kept: bool = True) -> Iterator[Load]:
    """Clients who read and write without a pause for as long as the block takes."""
    found = Load([], Counter())
    done = Event()

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=PATIENCE)
        turn = 0
        while not done.is_set():
            turn += 1
            method = "POST" if turn % 4 == 0 else "GET"
            try:
                reply = say(connection, "/probe/echo", method=method, body=b"x" * 1000 if method == "POST" else None)
            except (http.client.HTTPException, OSError):
                found.heard.append((method, 0))
                connection.close()
                continue
            found.heard.append((method, reply.status))
            if reply.status == 200:
                found.processes[json.loads(reply.text)["process"]] += 1
            if not is_kept:
                connection.close()
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        runs = [pool.submit(run) for _ in range(clients)]
        try:
            yield found
        finally:
            done.set()
        for one in runs:
            one.result()


@pytest.mark.parametrize("stack", stacks(FIRST[:1]), indirect=True, scope="module")
def test_work_is_shared(stack: Stack) -> None:
    """All connections that the proxy keeps are one process's, since the other one was away; soon both have some."""
    wait_until(lambda: len(stack.server.workers()) == 2)
    away, busy = stack.server.workers()
    os.kill(away, signal.SIGSTOP)
    try:
        with load(stack, 16) as found:
            wait_until(lambda: found.processes[busy] > 500)
            assert {*found.processes} == {busy}
            os.kill(away, signal.SIGCONT)
            seen = len(found.heard)
            wait_until(lambda: found.processes[away] > 1000)
            # A connection that has had its thousand requests is closed anyway.
            assert len(found.heard) - seen < 10_000
    finally:
        os.kill(away, signal.SIGCONT)


def test_idle_connections_stop_nobody(stack: Stack) -> None:
    """However many the proxy has made for requests that came at once, others that come later are answered."""
    with ThreadPoolExecutor(64) as clients:
        for _ in range(3):
            assert {reply.status for reply in clients.map(stack.ask, ["/probe/slow?seconds=0.02"] * 256)} == {200}
    with load(stack) as found:
        wait_until(lambda: len(found.heard) > 500, within=PATIENCE / 4)
    assert not found.failed()


def test_a_killed_worker_loses_what_it_held(each_stack: Stack) -> None:
    """Each of six clients loses one request at most, and all goes on."""
    with load(each_stack) as found:
        wait_until(lambda: len(found.heard) > 300)
        wait_until(lambda: len({*found.processes} & each_stack.server.workers()) == 2)
        before = {*found.processes}
        victim = next(iter(before & each_stack.server.workers()))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: bool({*found.processes} - before))
        seen = len(found.heard)
        wait_until(lambda: len(found.heard) > seen + 500)
    assert len(found.failed()) <= 6
    assert {status for _, status in found.failed()} <= {0, 502, 503}


def test_a_reload_loses_no_request(each_stack: Stack) -> None:
    """All workers are replaced under load, and each of at least 2,000 requests succeeds.

    Only granian breaks off a connection that it has just taken, when it stops at that moment.
    """
    with load(each_stack) as found:
        wait_until(lambda: len(found.heard) > 300)
        before = {*found.processes}
        each_stack.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len({*found.processes} - before) >= 2)
        seen = len(found.heard)
        wait_until(lambda: len(found.heard) > max(2000, seen + 500))
    allowed = 6 if (each_stack.project / "deploy" / "granian_server.py").exists() else 0
    assert len(found.failed()) <= allowed, each_stack.proxy.errors()[-2000:]
    assert len(found.heard) > 2000


def test_a_reload_of_the_proxy_loses_no_request(stack: Stack) -> None:
    """A renewed certificate or another address is taken under load."""
    reload = {"nginx": signal.SIGHUP, "apache": signal.SIGUSR1}[stack.proxy.name]
    with load(stack, is_kept=False) as found:
        wait_until(lambda: len(found.heard) > 300)
        stack.proxy.process.send_signal(reload)
        wait_until(lambda: len(found.heard) > 2000)
    assert not found.failed()


# --- one application server, other proxies ---------------------------------------------------------


@contextmanager
def another(stack: Stack, change: Callable[[Path], object] | None = None, **variables: str) -> Iterator[Stack]:
    """Another proxy in front of the same server."""
    with private_folder() as folder:
        proxy = type(stack.proxy)(stack.project, folder, stack.server.bind, **variables)
        if change:
            change(proxy.conf)
        with proxy.running():
            yield Stack(proxy, stack.server, stack.project)


def trust(conf: Path) -> None:
    """Believe a load balancer on loopback, as the file tells how."""
    file = conf / "trusted-proxies.conf"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(?m)^#(\w+ )10\.0\.0\.0/8", r"\g<1>127.0.0.1", text), encoding="utf-8")


def test_a_trusted_proxy_is_believed(stack: Stack) -> None:
    """What it says of the client, of TLS and of the request's id; but not what its client has put before that."""
    with another(stack, trust) as balanced:
        told = balanced.ask(
            "/probe/echo",
            X_Forwarded_For="6.6.6.6, 203.0.113.7",
            X_Forwarded_Proto="https",
            X_Request_ID="given.by-the_balancer",
        )
        heard = json.loads(told.text)
        assert (heard["client"], heard["scheme"], heard["id"]) == ("203.0.113.7", "https", "given.by-the_balancer")
        assert told.headers["strict-transport-security"].startswith("max-age=31536000")
        assert told.headers["x-request-id"] == "given.by-the_balancer"
        odd = balanced.ask(
            "/probe/echo", X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="gopher", X_Request_ID='a"b{}'
        )
        heard = json.loads(odd.text)
        assert heard["scheme"] == "http"
        assert '"' not in heard["id"]
        wait_until(lambda: any(line["client"] == "203.0.113.7" for line in balanced.proxy.logged()))


def test_tls(stack: Stack) -> None:
    """TLS 1.3 and HTTP/2; HTTP leads to it, but for what a certificate's authority wants to see."""
    with another(stack, SITE="tls") as secure:
        context = trusting(secure.proxy.conf / "tls" / "fullchain.pem")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(connect_plainly(secure.proxy), server_hostname=HOST) as connection:
            assert connection.version() == "TLSv1.3"
            assert connection.selected_alpn_protocol() == "h2"
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            assert connection.recv(9)[3] == 4  # its settings

        old = trusting(secure.proxy.conf / "tls" / "fullchain.pem")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with closing(connect_plainly(secure.proxy)) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname=HOST)

        with closing(connect_securely(secure.proxy)) as client:
            told = say(client, "/probe/echo")
            assert json.loads(told.text)["scheme"] == "https"
            assert told.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            error = say(client, "/.env", Accept="text/html")
            assert error.status == 404
            assert "strict-transport-security" in error.headers
            assert "strict-transport-security" in say(client, "/static/plain.css").headers

        moved = secure.ask("/docs?a=1", method="POST")
        assert (moved.status, moved.headers["location"]) == (308, f"https://{HOST}/docs?a=1")
        assert secure.ask("/", Host="elsewhere.test").status == 421
        assert secure.ask("/health/live", Host="10.0.0.1").status == 200
        challenge = secure.proxy.folder / "acme" / ".well-known" / "acme-challenge" / "token-1"
        challenge.parent.mkdir(parents=True)
        challenge.write_text("answer")
        assert secure.ask("/.well-known/acme-challenge/token-1").text == "answer"
        assert secure.ask("/.well-known/acme-challenge/../../../conf/tls/privkey.pem").status in {308, 400, 404}


def connect_plainly(proxy: Proxy) -> socket.socket:
    """A connection to where the proxy speaks TLS, before it does."""
    return socket.create_connection(("127.0.0.1", proxy.https), PATIENCE)


def connect_securely(proxy: Proxy) -> http.client.HTTPSConnection:
    """A connection that knows the proxy's certificate."""
    context = trusting(proxy.conf / "tls" / "fullchain.pem")

    class Named(http.client.HTTPSConnection):
        def connect(self) -> None:
            self.sock = context.wrap_socket(connect_plainly(proxy), server_hostname=HOST)

    return Named("127.0.0.1", proxy.https, timeout=PATIENCE)


def test_errors_when_the_application_is_gone(stack: Stack) -> None:
    """Said at once, as its own; and what was kept is served on."""
    with private_folder() as folder:
        gone = type(stack.proxy)(stack.project, folder, f"127.0.0.1:{free_port()}")
        with gone.running():
            alone = Stack(gone, stack.server, stack.project)
            page, problem = both(alone, "/")
            check_error(page, problem, page.status)
            assert page.status in {502, 503}
