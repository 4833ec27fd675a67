"""Reverse proxies in front of each application server, with each CDN: configuration, responses and robustness."""

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

from tests.application_servers import STREAMS, Upstream, application_server, is_complete
from tests.matrix import OPTIONS, Answers, Combination, Value, answers_with, parametrize_combinations
from tests.proxies import (
    HOST,
    PROXIES,
    Apache,
    Proxy,
    ProxyResponse,
    private_folder,
    send_on,
    send_raw,
    send_request,
    statuses,
    tls_context,
)
from tests.services import TIMEOUT, children, free_port, program, wait_until

CDNS = OPTIONS["cdn"]


def combination_with(server: Value, proxy: Value, cdn: Value) -> Combination:
    """Return a combination of these values without backing services; every other CDN is combined with no web pages."""
    chosen: Answers = {"wsgi_server": server, "reverse_proxy": proxy, "cdn": cdn}
    options: Answers = {"database": "none", "cache": "none", "web_pages": CDNS.index(cdn) % 2 == 0}
    return Combination(f"{server}-{proxy}-{cdn}", answers_with(**options, **chosen))


PROXY_COMBINATIONS = [
    combination_with(*values) for values in product(OPTIONS["wsgi_server"], OPTIONS["reverse_proxy"], CDNS)
]

# Every server and every proxy is connected once by a TCP port and once by a Unix socket.
STACKS = {
    f"{server}-{proxy}": (server, proxy, (number + (proxy == "apache")) % 2 == 0)
    for number, server in enumerate(OPTIONS["wsgi_server"])
    for proxy in PROXIES
}
FIRST_STACKS = [f"{OPTIONS['wsgi_server'][0]}-{proxy}" for proxy in PROXIES]

# The application also serves this path prefix, and accepts cross-origin writes from this origin.
PREFIX = "/shop"
ALLOWED_ORIGIN = "https://friend.example.org"

# Views for tests.
PROBE = (
    """

import os
from pathlib import Path
from time import sleep
from typing import Any

from flask import Response, redirect, request, session, url_for

from .core.http_caching import public


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
        "prefix": request.script_root,
    }


@app.post("/probe/session")
def enter() -> Any:
    session["who"] = "user"
    return redirect(url_for("docs.swagger_ui"))


@app.get("/probe/public")
@public()
def public_view() -> dict[str, str]:
    print("computing", request.full_path, flush=True)
    sleep(float(request.args.get("seconds", 0)))
    return {"random": os.urandom(8).hex(), "padding": "x" * int(request.args.get("padding", 0))}


@app.get("/probe/cookie")
@public()
def cookie() -> Response:
    response = app.make_response({"random": os.urandom(8).hex()})
    response.set_cookie("who", "user")
    return response


@app.get("/probe/private")
def private() -> dict[str, str]:
    return {"random": os.urandom(8).hex()}


@app.get("/probe/slow")
def slow() -> dict[str, int]:
    sleep(float(request.args["seconds"]))
    return {"process": os.getpid()}


@app.get("/probe/big")
def big() -> Response:
    return Response("x" * int(request.args["bytes"]), mimetype="text/plain")
"""
    + STREAMS
)


class Stack(NamedTuple):
    """A proxy and its application server."""

    proxy: Proxy
    server: Upstream
    project: Path

    @property
    def port(self) -> int:
        """Return the proxy's HTTP port."""
        return self.proxy.http

    def request(
        self, path: str, method: str = "GET", *, body: bytes | str | None = None, **headers: str
    ) -> ProxyResponse:
        """Send a request to the proxy."""
        return send_request(self.port, path, method=method, body=body, **headers)


def render(cookies: Cookies, combination: Combination) -> Path:
    """Render the project of a combination."""
    result = cookies.bake(extra_context=combination.context)
    assert result.exception is None, result.exception
    return Path(result.project_path)


@contextmanager
def stack_of(name: str, cookies: Cookies, programs: Path, **variables: str) -> Iterator[Stack]:
    """Run a proxy and an application server with a project's configuration within a `with` block."""
    server, kind, has_socket = STACKS[name]
    combination = combination_with(server, kind, "none")
    with private_folder() as folder, ExitStack() as stack:
        project = Path(shutil.copytree(render(cookies, combination), folder / "project"))
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
                combination,
                programs,
                folder / "application.log",
                bind=bind,
                TRUSTED_PROXY_HOPS="1",
                TRUSTED_PROXY_PREFIX="true",
                URL_PREFIX=PREFIX,
                CORS_ORIGINS=ALLOWED_ORIGIN,
                HTTP_CACHE_TTL="2",
            )
        )
        stack.enter_context(proxy.running())
        try:
            yield Stack(proxy, upstream, project)
        except BaseException:
            print(proxy.error_log()[-5000:])
            raise


# Large enough that a proxy would compress it once more by mistake.
PLAIN = b"body{}" * 1000
STATIC = {"": PLAIN, ".gz": gzip.compress(PLAIN), ".br": b"brotli" * 1000, ".zst": b"zstandard" * 1000}


def stacks(names: Iterable[str]) -> list[object]:
    """Return parameters for a fixture that starts each stack once per module."""
    return [pytest.param(name, id=name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="module", params=stacks(STACKS))
def each_stack(request: pytest.FixtureRequest, cookies_session: Cookies, venv_bin: Path) -> Iterator[Stack]:
    """Run a stack for each combination of server and proxy."""
    with stack_of(request.param, cookies_session, venv_bin) as stack:
        yield stack


@pytest.fixture(scope="module", params=stacks(FIRST_STACKS))
def stack(request: pytest.FixtureRequest, cookies_session: Cookies, venv_bin: Path) -> Iterator[Stack]:
    """Run a stack for each proxy, with the first server."""
    with stack_of(request.param, cookies_session, venv_bin) as stack:
        yield stack


# --- the configuration -----------------------------------------------------------------------------


@parametrize_combinations(PROXY_COMBINATIONS)
def test_configuration_is_accepted(combination: Combination, project: Path, venv_bin: Path) -> None:
    """The proxy accepts the configuration without warnings, with and without TLS, and gixy finds no issue."""
    for name in PROXIES:
        assert (project / "deploy" / name).exists() == (name == combination.options["reverse_proxy"])
    if combination.options["reverse_proxy"] not in PROXIES:
        return
    for site in ("http", "https"):
        with private_folder() as folder:
            proxy = PROXIES[str(combination.options["reverse_proxy"])](project, folder, "127.0.0.1:8000", SITE=site)
            output = proxy.check()
            assert not re.search(r"\[(warn|error|emerg)|AH\d+", output), output
            if proxy.name == "nginx":
                gixy = [venv_bin / "gixy", proxy.conf / "nginx.conf"]
                result = subprocess.run(gixy, check=False, capture_output=True, text=True)
                assert result.returncode == 0, result.stdout + result.stderr
                assert "No issues found" in result.stdout, result.stdout


@parametrize_combinations(
    [combination_with(server, proxy, "none") for server, proxy in product(OPTIONS["wsgi_server"], PROXIES)]
)
def test_timeouts_are_nested(combination: Combination, project: Path) -> None:
    """The proxy's response timeout is longer than the server's, and its idle timeout shorter."""
    deploy = project / "deploy"

    def seconds(pattern: str, *files: str) -> set[float]:
        text = "\n".join((deploy / file).read_text(encoding="utf-8") for file in files)
        numbers = {float(number) for number in re.findall(pattern, text, re.MULTILINE)}
        assert numbers, pattern
        return numbers

    server = str(combination.options["wsgi_server"])
    (config,) = project.glob("src/*/config.py")
    default = re.search(r"WEB_TIMEOUT: PositiveInt = (\d+)", config.read_text(encoding="utf-8"))
    assert default
    limit = float(default[1])
    file, keepalive_pattern = {
        "gunicorn": ("gunicorn.conf.py", r"^keepalive = (\d+)"),
        "granian": ("granian_server.py", r"header_read_timeout=(\d+)_000"),
        "uwsgi": ("uwsgi_settings.py", ""),
    }[server]
    assert re.search(r"settings\.WEB_TIMEOUT", (deploy / file).read_text(encoding="utf-8"))
    if combination.options["reverse_proxy"] == "nginx":
        gateway = "nginx/uwsgi.conf" if server == "uwsgi" else "nginx/proxy.conf"
        response_timeouts = seconds(r"_read_timeout (\d+)s;", gateway)
        shutdown_timeouts = seconds(r"worker_shutdown_timeout (\d+)s;", "nginx/nginx.conf")
        keepalive = r"^    keepalive_timeout (\d+)s;", "nginx/templates/application.conf.template"
        reused = True
    else:
        response_timeouts = seconds(r"(?:\btimeout=|^ProxyTimeout )(\d+)", "apache/application.conf")
        shutdown_timeouts = seconds(r"GracefulShutdownTimeout (\d+)", "apache/httpd.conf")
        proxy = (deploy / "apache/application.conf").read_text(encoding="utf-8")
        reused = "disablereuse=on" not in proxy
        keepalive = r"\bttl=(\d+)", "apache/application.conf"
    assert limit < min(response_timeouts) <= max(response_timeouts) < min(shutdown_timeouts)
    # A connection that the proxy reuses must not be closed by the server first.
    if server == "gunicorn" and reused:
        assert max(seconds(*keepalive)) < min(seconds(keepalive_pattern, file))


# --- serving ---------------------------------------------------------------------------------------


def test_requests_are_served(each_stack: Stack) -> None:
    """A page, a static file, the API, an error, an upload and a health check get the expected responses."""
    page = each_stack.request("/", Accept="text/html")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "content-security-policy" in page.headers
    assert "<h1>" in page.text

    api = each_stack.request("/api/v1/primes?below=100")
    assert api.status == 200
    assert json.loads(api.text) == {"below": 100, "primes": 25}

    style = each_stack.request("/static/style.0123456789ab.css")
    assert (style.status, style.body) == (200, STATIC[""])

    for path, method, status in (("/nowhere", "GET", 404), ("/api/v1/primes", "POST", 405), ("/docs", "GET", 200)):
        response = each_stack.request(path, method=method)
        assert response.status == status
        assert "content-security-policy" in response.headers
    assert "<h1>Not Found</h1>" in each_stack.request("/nowhere", Accept="text/html").text

    for size in (10, 100_000, 1_000_000):
        upload = each_stack.request("/probe/echo", method="POST", body=b"x" * size)
        assert json.loads(upload.text)["bytes"] == size
    assert each_stack.request("/health/ready").status == 200
    assert len(each_stack.request("/probe/big?bytes=3000000").body) == 3_000_000


def test_forged_client_headers_are_ignored(each_stack: Stack) -> None:
    """The application and the log ignore forwarding headers of clients."""
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Request-ID": "forged-forged",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil.test",
        "X-Forwarded-Prefix": "/evil",
    }
    # WSGI does not distinguish underscores and hyphens.
    raw = "".join(f"{spelling}: {value}\r\n" for name, value in forged.items() for spelling in header_spellings(name))
    response = send_raw(
        each_stack.port,
        f"GET /probe/echo?secret=1 HTTP/1.1\r\nHost: {HOST}\r\n{raw}Connection: close\r\n\r\n".encode(),
    )
    head, _, body = response.partition(b"\r\n\r\n")
    assert statuses(head) == [200]
    data = json.loads(body)
    assert (data["client"], data["scheme"], data["host"]) == ("127.0.0.1", "http", HOST)
    assert data["id"] not in {"", "forged-forged"}
    assert not {"Forwarded", "Proxy", "X-Forwarded-Prefix"} & {*data["headers"]}
    assert data["prefix"] == PREFIX
    assert re.findall(rb"(?i)x-request-id: ([\w.-]+)", head) == [data["id"].encode()]

    wait_until(lambda: any(line["request_id"] == data["id"] for line in each_stack.proxy.access_log()))
    (line,) = (line for line in each_stack.proxy.access_log() if line["request_id"] == data["id"])
    assert (line["client"], line["path"], line["status"]) == ("127.0.0.1", "/probe/echo", 200)
    assert "secret" not in json.dumps(line)


def header_spellings(name: str) -> list[str]:
    """Return all spellings of a header name with hyphens or underscores."""
    words = name.split("-")
    return [
        "".join(word for pair in zip(words, (*between, ""), strict=True) for word in pair)
        for between in product("-_", repeat=len(words) - 1)
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Origin": f"http://{HOST}:8080"}, 200),
        ({"Origin": f"http://{HOST}:8080"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": ALLOWED_ORIGIN}, 200),
    ],
)
def test_cross_site_write_is_rejected(each_stack: Stack, headers: dict[str, str], status: int) -> None:
    """A form of another site is rejected, in browsers with and without Fetch Metadata; reads remain allowed."""
    form = {"Content_Type": "application/x-www-form-urlencoded", **headers}
    assert each_stack.request("/probe/echo", "POST", body="a=1", **form).status == status
    assert each_stack.request("/probe/echo", **headers).status == 200


def test_cors_works_with_caches(each_stack: Stack) -> None:
    """An allowed origin gets a preflight response and may read cached responses; other origins may not."""
    request_headers = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "if-match"}
    preflight = each_stack.request("/probe/echo", "OPTIONS", Origin=ALLOWED_ORIGIN, **request_headers)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "if-match"
    rejected = each_stack.request("/probe/echo", "OPTIONS", Origin="https://evil.example", **request_headers)
    assert "access-control-allow-origin" not in rejected.headers
    for origin in ("", ALLOWED_ORIGIN, "https://evil.example", ALLOWED_ORIGIN):
        response = each_stack.request("/probe/public?cors", **({"Origin": origin} if origin else {}))
        allowed = ALLOWED_ORIGIN if origin == ALLOWED_ORIGIN else None
        assert response.headers.get("access-control-allow-origin") == allowed


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
def test_static_files_are_negotiated(stack: Stack, accepted: str, encoding: str) -> None:
    """The response has the best precompressed encoding that the client accepts, and is cached as immutable."""
    ending = {"br": ".br", "zstd": ".zst", "gzip": ".gz", "": ""}[encoding]
    style = stack.request("/static/style.0123456789ab.css", Accept_Encoding=accepted)
    assert (style.status, style.body) == (200, STATIC[ending])
    assert style.headers.get("content-encoding", "") == encoding
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert style.headers["vary"] == "Accept-Encoding"
    assert style.headers["access-control-allow-origin"] == "*"
    assert style.headers["x-content-type-options"] == "nosniff"


def test_static_files_are_compressed_once(stack: Stack) -> None:
    """Precompressed files are sent unchanged, whatever their type."""
    image = stack.request("/static/sign.0123456789ab.svg", Accept_Encoding="gzip, br")
    assert (image.headers["content-encoding"], image.body) == ("br", STATIC[".br"])
    assert image.headers["content-type"] == "image/svg+xml"


def test_static_files_are_served_from_disk(stack: Stack) -> None:
    """Files support conditional and range requests; the application serves those that are missing on disk."""
    first = stack.request("/static/plain.css", Accept_Encoding="br")
    assert first.headers["cache-control"] == "public, no-cache"
    assert "content-encoding" not in first.headers
    assert stack.request("/static/plain.css", If_None_Match=first.headers["etag"]).status == 304
    part = stack.request("/static/plain.css", Range="bytes=0-3")
    assert (part.status, part.body) == (206, b"body")
    assert stack.request("/static/picture.png").headers["content-type"] == "image/png"
    assert stack.request("/static/icon.svg").status == 200
    log = stack.server.log.read_text(encoding="utf-8")
    assert "/static/icon.svg" in log
    assert "/static/plain.css" not in log


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
        "/metrics",
        "//metrics",
        "/%6detrics",
        "/static/../metrics",
    ],
)
def test_hidden_files_are_not_served(stack: Stack, path: str) -> None:
    """Names that begin with a dot and paths outside the folder are not served."""
    (response,) = statuses(
        send_raw(stack.port, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    )
    assert response in {400, 404}


# --- responses of the proxy itself -----------------------------------------------------------------

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def check_error(page: ProxyResponse, problem: ProxyResponse, status: int) -> None:
    """Assert that an error of the proxy matches those of the application: HTML, problem details, security headers."""
    for response in (page, problem):
        assert response.status == status
        assert SECURITY_HEADERS.items() <= response.headers.items()
        assert re.fullmatch(r"[\w.-]{8,64}", response.headers["x-request-id"])
        assert not re.search(r"(?i)nginx/|apache/|debian", f"{response.headers}{response.text}")
    assert problem.headers["content-type"] == "application/problem+json"
    data = json.loads(problem.text)
    assert data["status"] == status
    assert data["title"]
    assert data["request_id"] == problem.headers["x-request-id"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-request-id"] in page.text
    (style,) = re.findall(r"<style>(.*?)</style>", page.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]


def request_both(stack: Stack, path: str, method: str = "GET", **headers: str) -> tuple[ProxyResponse, ProxyResponse]:
    """Send a request with the Accept header of a browser and one with that of an API client."""
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    return stack.request(path, method=method, Accept=browser, **headers), stack.request(
        path, method=method, Accept="*/*", **headers
    )


def test_proxy_errors_match_the_applications(stack: Stack) -> None:
    """Browsers get pages and API clients get problem details, all with security headers."""
    check_error(*request_both(stack, "/.env"), 404)
    check_error(*request_both(stack, "/", Host="elsewhere.test"), 421)
    too_large = {"method": "POST", "Content_Length": "2000000", "Content_Type": "application/json"}
    check_error(*request_both(stack, "/probe/echo", **too_large), 413)
    assert stack.request("/health/live", Host="10.0.0.1").status == 200


def test_proxy_405_has_allow_header(stack: Stack) -> None:
    """A 405 response lists the allowed methods (RFC 9110, section 15.5.6)."""
    if stack.proxy.name == "nginx":
        response = stack.request("/static/plain.css", "POST")
        assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
    for path, method in (("/static/plain.css", "DELETE"), ("/", "TRACE")):
        response = stack.request(path, method)
        assert response.status == 405
        assert "GET" in response.headers["allow"]
    assert "allow" not in stack.request("/.env").headers


MARKER = "marker-0123"
MALFORMED_REQUESTS = [
    f"GET /%zz?{MARKER} HTTP/1.1",
    f"GET /../..?{MARKER} HTTP/1.1",
    f"GET /?{MARKER}{'x' * 9000} HTTP/1.1",
    f"TRACE /?{MARKER} HTTP/1.1",
    f"POST /?{MARKER} HTTP/1.1\r\nContent-Length: 99999999",
    f"POST /?{MARKER} HTTP/1.1\r\nContent-Length: {MARKER}",
]


def test_error_log_has_neither_query_nor_referer(stack: Stack) -> None:
    """Rate-limited, malformed and failed requests log neither the query string nor the Referer header."""
    for url in (f"127.0.0.1:{free_port()}", "unix:/nonexistent/socket"):
        with private_folder() as folder:
            limits = {"REQUESTS_PER_SECOND": "1", "RATE_LIMIT_BURST": "2"}
            proxy = type(stack.proxy)(stack.project, folder, url, **limits)
            with proxy.running():
                seen = [
                    send_request(proxy.http, f"/?{MARKER}", Referer=f"https://example.com/?{MARKER}") for _ in range(6)
                ]
                headers = f"Host: {HOST}\r\nReferer: https://example.com/?{MARKER}\r\nConnection: close\r\n\r\n"
                for line in MALFORMED_REQUESTS:
                    assert send_raw(proxy.http, f"{line}\r\n{headers}".encode(), timeout=5, until=b"\r\n")
            assert {response.status for response in seen} & {502, 503}
            assert proxy.name == "apache" or 429 in {response.status for response in seen}
            assert MARKER not in proxy.error_log()
            assert not any(MARKER in json.dumps(line) for line in proxy.access_log())
            failed = [line for line in proxy.access_log() if line["status"] in {502, 503}]
            assert failed
            assert proxy.name == "apache" or "502" in {line["upstream_status"] for line in failed}


def test_maintenance_file_closes_the_site(stack: Stack) -> None:
    """While the file exists, all paths except health checks and static files respond with 503."""
    stack.proxy.closed.touch()
    try:
        page, problem = request_both(stack, "/")
        check_error(page, problem, 503)
        assert int(page.headers["retry-after"]) > 0
        assert "maintenance" in page.text
        assert stack.request("/health/live").status == stack.request("/static/plain.css").status == 200
    finally:
        stack.proxy.closed.unlink()
    assert stack.request("/").status == 200


def test_access_log_is_json(stack: Stack) -> None:
    """The log is JSON whatever a client sends, and contains the client and the duration of the application."""
    invalid = b'GET /nowhere/%22?q=" HTTP/1.1\r\nHost: ' + HOST.encode() + b'\r\nUser-Agent: a"b\\c\xc3\x28\xa9\r\n'
    for end in (b"Connection: close\r\n\r\n", b"X: \x01\r\nConnection: close\r\n\r\n"):
        send_raw(stack.port, invalid + end)
    stack.request("/probe/slow?seconds=0.2")
    wait_until(lambda: any(line["path"] == "/probe/slow" for line in stack.proxy.access_log()))
    lines = stack.proxy.access_log()
    assert any(line["path"] == "/nowhere/%22" for line in lines)
    (slow,) = (line for line in lines if line["path"] == "/probe/slow")
    took = float(str(slow.get("application_seconds") or float(str(slow["first_byte_microseconds"])) / 1e6))
    assert 0.2 <= took < TIMEOUT
    assert {"timestamp", "request_id", "client", "method", "status", "bytes", "user_agent"} <= slow.keys()
    stack.request("/health/live")
    stack.request("/probe/slow?seconds=0")
    wait_until(lambda: stack.proxy.access_log()[-1]["path"] == "/probe/slow")
    assert not any(line["path"] == "/health/live" and line["status"] == 200 for line in stack.proxy.access_log())


# --- compression -----------------------------------------------------------------------------------


def test_dynamic_text_is_compressed_once(stack: Stack) -> None:
    """Large text responses are compressed by the proxy, and conditional requests still work."""
    plain = stack.request("/probe/public?padding=5000")
    compressed = stack.request("/probe/public?padding=5000", Accept_Encoding="gzip")
    assert compressed.headers["content-encoding"] == "gzip"
    assert len(compressed.body) < len(plain.body) / 10
    assert json.loads(gzip.decompress(compressed.body)).keys() == {"random", "padding"}
    for response in (plain, compressed):
        assert "accept-encoding" in response.headers["vary"].lower()
        again = stack.request(
            "/probe/public?padding=5000", Accept_Encoding="gzip", If_None_Match=response.headers["etag"]
        )
        assert again.status == 304
    assert "content-encoding" not in stack.request("/probe/private", Accept_Encoding="gzip").headers or (
        stack.proxy.name == "apache"
    )


# --- micro cache -----------------------------------------------------------------------------------


def random_value(response: ProxyResponse) -> str:
    """Return the random value that the application put into a response."""
    assert response.status == 200
    return str(json.loads(response.text)["random"])


def test_public_responses_are_cached(stack: Stack) -> None:
    """Responses are cached by their full URL for a short time; every response has its own request ID."""
    first, second = stack.request("/probe/public?a=1"), stack.request("/probe/public?a=1")
    assert random_value(first) == random_value(second) != random_value(stack.request("/probe/public?a=2"))
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert random_value(
        stack.request("/probe/public?a=1", Cache_Control="no-cache", Pragma="no-cache")
    ) == random_value(first)
    assert stack.request("/probe/public?a=1", If_None_Match=first.headers["etag"]).status == 304
    assert stack.request("/probe/public?a=1", method="HEAD").status == 200


@pytest.mark.parametrize("credentials", [{"Cookie": "session=1"}, {"Authorization": "Bearer x"}, {"Cookie": "0"}])
def test_personal_responses_are_not_cached(stack: Stack, credentials: dict[str, str]) -> None:
    """Clients with credentials get no cached response, and their responses are not cached for others."""
    url = f"/probe/public?who={next(iter(credentials.values())).replace(' ', '')}"
    personal = stack.request(url, **credentials)
    assert personal.headers["cache-control"] == "private, no-cache"
    anonymous = stack.request(url)
    assert random_value(personal) != random_value(anonymous)
    assert random_value(anonymous) == random_value(stack.request(url))
    assert random_value(stack.request(url, **credentials)) not in {random_value(personal), random_value(anonymous)}


def test_private_responses_are_not_cached(stack: Stack) -> None:
    """Responses without `public()` and responses that set a cookie are not cached."""
    for path in ("/probe/private", "/probe/cookie"):
        assert random_value(stack.request(path)) != random_value(stack.request(path))
    assert "set-cookie" in stack.request("/probe/cookie").headers


def test_one_request_refreshes_stale_response(stack: Stack) -> None:
    """One request refreshes a stale response; the others get the stale one without delay."""
    url = "/probe/public?seconds=2"

    def computations() -> int:
        return stack.server.log.read_text(encoding="utf-8").count(f"computing {url}")

    old = random_value(stack.request(url))
    assert computations() == 1
    with ThreadPoolExecutor(64) as clients:
        pending = []

        def is_renewed() -> bool:
            pending.append(clients.submit(stack.request, url))
            return computations() == 2

        wait_until(is_renewed)
        began = time.monotonic()
        responses = [*clients.map(stack.request, [url] * 8)]
        assert time.monotonic() - began < 1.5
        assert {random_value(response) for response in responses} == {old}
        assert computations() == 2
        assert len([response for response in pending if random_value(response.result()) != old]) <= 1
    wait_until(lambda: random_value(stack.request(url)) != old)


def test_uncacheable_requests_run_concurrently(stack: Stack) -> None:
    """Concurrent requests for one URL do not wait for each other if the response cannot be cached."""
    with ThreadPoolExecutor(8) as clients:
        began = time.monotonic()
        responses = [*clients.map(stack.request, ["/probe/slow?seconds=0.5"] * 8)]
        assert time.monotonic() - began < 3
    assert {response.status for response in responses} == {200}


# --- malformed and slow requests -------------------------------------------------------------------


def head(line: str = "POST /probe/echo HTTP/1.1", **headers: str) -> bytes:
    """Return the head of a request."""
    lines = [line, f"Host: {HOST}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


SMUGGLED_REQUEST = b"GET /probe/smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"
CHUNKED = {"Transfer_Encoding": "chunked"}
SMUGGLING_ATTEMPTS = {
    "CL and TE": head(Content_Length="5", Transfer_Encoding="chunked") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "TE and CL": head(Transfer_Encoding="chunked", Content_Length="6") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "two lengths": head()[:-2] + b"Content-Length: 0\r\nContent-Length: 56\r\n\r\n" + SMUGGLED_REQUEST,
    "a list of lengths": head(Content_Length="0, 56") + SMUGGLED_REQUEST,
    "a signed length": head(Content_Length="+0") + SMUGGLED_REQUEST,
    "a negative length": head(Content_Length="-1") + SMUGGLED_REQUEST,
    "a length with a letter": head(Content_Length="0x38") + SMUGGLED_REQUEST,
    "space before the colon": head()[:-2] + b"Content-Length : 56\r\n\r\n" + SMUGGLED_REQUEST,
    "an unknown coding": head(Transfer_Encoding="xchunked") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "chunked is not last": head(Transfer_Encoding="chunked, identity") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "chunked twice": head(Transfer_Encoding="chunked, chunked") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "two codings": head(**CHUNKED)[:-2] + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED_REQUEST,
    "a coding with a control": head(Transfer_Encoding="\x0bchunked") + b"0\r\n\r\n" + SMUGGLED_REQUEST,
    "a chunk's size with a letter": head(**CHUNKED) + b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED_REQUEST,
    "a chunk's size with a sign": head(**CHUNKED) + b"-5\r\nhello\r\n0\r\n\r\n" + SMUGGLED_REQUEST,
    "a chunk too long for a number": head(**CHUNKED) + b"FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n" + SMUGGLED_REQUEST,
    "a chunk longer than its size": head(**CHUNKED) + b"3\r\nhello\r\n0\r\n\r\n" + SMUGGLED_REQUEST,
    "two hosts": head()[:-2] + b"Host: elsewhere.test\r\n\r\n" + SMUGGLED_REQUEST,
    "no host": b"GET /probe/echo HTTP/1.1\r\n\r\n" + SMUGGLED_REQUEST,
    "a null in a header": head(X="a\0b") + SMUGGLED_REQUEST,
    "a carriage return in a header": head(X="a\rContent-Length: 56") + SMUGGLED_REQUEST,
    "no name": head()[:-2] + b": 56\r\n\r\n" + SMUGGLED_REQUEST,
    "chunked in HTTP/1.0": head("POST /probe/echo HTTP/1.0", **CHUNKED) + b"0\r\n\r\n" + SMUGGLED_REQUEST,
}


@pytest.mark.parametrize("data", SMUGGLING_ATTEMPTS.values(), ids=SMUGGLING_ATTEMPTS)
def test_request_smuggling_is_rejected(each_stack: Stack, data: bytes) -> None:
    """The response is a single error, and the hidden request does not reach the application."""
    responses = statuses(send_raw(each_stack.port, data, timeout=5))
    assert len(responses) == 1, responses
    assert responses[0] in {400, 411, 501}, responses
    assert "/probe/smuggled" not in each_stack.server.log.read_text(encoding="utf-8")


def test_folded_headers_are_rejected_or_unfolded(each_stack: Stack) -> None:
    """A folded header gets 400 from nginx; Apache replaces the fold with a space (RFC 9112, section 5.2)."""
    folded = head()[:-2] + b"X-Folded: a\r\n Content-Length: 56\r\n\r\n"
    responses = send_raw(each_stack.port, folded + head("GET /health/live HTTP/1.1", Connection="close"))
    if each_stack.proxy.name == "nginx":
        assert statuses(responses) == [400]
    else:
        assert statuses(responses) == [200, 200]
        assert b'"bytes":0' in responses
    first = b"POST /probe/echo HTTP/1.1\r\n Host: example.com\r\n\r\n"
    assert statuses(send_raw(each_stack.port, first)) == [400]


TOO_LARGE_REQUESTS = {
    "a request line": (head(f"GET /{'x' * 9000} HTTP/1.1"), {414}),
    "a query": (head(f"GET /?{'x' * 40000} HTTP/1.1"), {414}),
    "a header": (head("GET / HTTP/1.1", X="x" * 9000), {400, 431}),
    "thousands of headers": (head("GET / HTTP/1.1", **{f"X{number}": "x" for number in range(5000)}), {400, 431}),
    "a body": (head(Content_Length="1048577"), {413}),
    "an enormous body": (head(Content_Length="99999999999"), {413}),
    "a chunked body": (head(**CHUNKED) + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40 + b"0\r\n\r\n", {411, 413}),
}


@pytest.mark.parametrize(("data", "expected"), TOO_LARGE_REQUESTS.values(), ids=TOO_LARGE_REQUESTS)
def test_too_large_request_is_rejected(each_stack: Stack, data: bytes, expected: set[int]) -> None:
    """The proxy rejects the request itself, without waiting for the body; nginx's log shows that."""
    began = time.monotonic()
    before = len(each_stack.proxy.access_log())
    responses = statuses(send_raw(each_stack.port, data, timeout=5, until=b"\r\n"))
    assert responses[:1], "no response"
    assert responses[0] in expected
    assert time.monotonic() - began < TIMEOUT / 2

    def rejected() -> list[dict[str, object]]:
        return [line for line in each_stack.proxy.access_log()[before:] if line["status"] == responses[0]]

    wait_until(lambda: bool(rejected()))
    assert not any(line.get("application_seconds") for line in rejected())


def test_many_headers_never_return_5xx(each_stack: Stack) -> None:
    """Headers of 33 kB and of 60 kB get 200 or 431."""
    for count in (33, 60):
        headers = {f"X-{number}": "x" * 980 for number in range(count)}
        response = send_raw(each_stack.port, head("GET /probe/echo HTTP/1.1", **headers, Connection="close"), timeout=5)
        (status,) = re.findall(rb"HTTP/1.1 (\d+)", response)
        assert status in {b"200", b"431"}, count


def test_88_kb_headers_return_431_or_502(each_stack: Stack) -> None:
    """Beyond 64 kB uWSGI closes the connection, and Apache has no limit for the sum; later requests succeed."""
    headers = {f"X-{number}": "x" * 980 for number in range(88)}
    response = send_raw(each_stack.port, head("GET /probe/echo HTTP/1.1", **headers, Connection="close"), timeout=5)
    (status,) = re.findall(rb"HTTP/1.1 (\d+)", response)
    is_beyond = (each_stack.server.protocol, each_stack.proxy.name) == ("http", "apache") and (
        each_stack.project / "deploy" / "uwsgi.ini"
    ).exists()
    assert status in ({b"502"} if is_beyond else {b"200", b"431"})
    assert each_stack.request("/probe/echo").status == 200


def test_request_line_without_a_version_returns_400(each_stack: Stack) -> None:
    """An HTTP/0.9 request causes no traceback, sent to the proxy or to the application server."""
    assert re.search(rb'"status":4\d\d', send_raw(each_stack.port, b"GET /\r\n\r\n", timeout=5))
    if each_stack.server.protocol == "http":
        with each_stack.server.connect(5) as connection:
            connection.sendall(b"GET /\r\n\r\n")
            assert b" 400 " in connection.recv(65_536)
    assert "Traceback" not in each_stack.server.log.read_text(encoding="utf-8")


INCOMPLETE_REQUESTS = {
    "heads": head("GET / HTTP/1.1")[:-2] + b"X: ",
    "bodies": head(Content_Length="100000") + b"x",
    "chunks": head(**CHUNKED) + b"5\r\nh",
    "readers": head("GET /probe/big?bytes=900000 HTTP/1.1"),
}


@pytest.mark.parametrize("data", INCOMPLETE_REQUESTS.values(), ids=INCOMPLETE_REQUESTS)
def test_slow_clients_do_not_block_others(each_stack: Stack, data: bytes) -> None:
    """While 200 slow clients are connected, other requests succeed."""
    with ExitStack() as slow:
        for _ in range(200):
            connection = slow.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", each_stack.port))
            connection.sendall(data)
        for _ in range(20):
            began = time.monotonic()
            assert each_stack.request("/probe/private").status == 200
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("accepted", ["identity", "gzip, br"])
def test_incomplete_streams_are_detectable(each_stack: Stack, accepted: str) -> None:
    """A client can detect a truncated response: always with a length, otherwise if the server sends chunks."""

    def stream(path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", each_stack.port, timeout=5)
        return is_complete(connection, f"/probe/body/{path}", **{"Accept-Encoding": accepted})

    assert stream("whole")
    assert stream("whole?length")
    assert not stream("fails?length")
    assert not stream("short?length")
    # pyuwsgi 2.0.30 does not send chunks: docs/streaming.md of a project says what to do.
    assert stream("fails") == (each_stack.project / "deploy" / "uwsgi.ini").exists()


BODY = b"POST /probe/echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def slow_bodies(stack: Stack, number: int, sent: int) -> Iterator[None]:
    """Keep clients connected that have sent a part of a request body, within a `with` block."""

    def begin(_: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", stack.port), TIMEOUT)
        connection.sendall(BODY + b"x" * sent)
        return connection

    with ExitStack() as slow, ThreadPoolExecutor(32) as pool:
        for connection in pool.map(begin, range(number)):
            slow.enter_context(connection)
        yield


@pytest.mark.parametrize("stack", stacks(FIRST_STACKS[:1]), indirect=True, scope="module")
def test_requests_in_progress_are_limited(stack: Stack) -> None:
    """Above 512 concurrent requests of all clients nginx responds with 429, except to health checks."""
    with slow_bodies(stack, 515, 1):
        wait_until(lambda: stack.request("/probe/private").status == 429)
        assert stack.request("/health/live").status == 200
    wait_until(lambda: stack.request("/probe/private").status == 200)


@pytest.mark.parametrize("stack", stacks(FIRST_STACKS[1:]), indirect=True, scope="module")
def test_slow_bodies_are_buffered_on_disk(stack: Stack) -> None:
    """200 bodies of 0.9 MB are buffered in files; Apache has only a part of each in memory."""

    def memory() -> int:
        texts = [
            Path(f"/proc/{child}/status").read_text(encoding="utf-8") for child in children(stack.proxy.process.pid)
        ]
        return sum(int(text.partition("RssAnon:")[2].split()[0]) for text in texts)

    before = memory()
    with slow_bodies(stack, 200, 900_000):
        assert memory() - before < 40_000
        assert stack.request("/health/live").status == 200


# --- failures of the application server ------------------------------------------------------------


class LoadResult(NamedTuple):
    """Results of clients that send requests continuously."""

    results: list[tuple[str, int]]
    processes: Counter[int]

    def failed(self) -> list[tuple[str, int]]:
        """Return the requests that did not succeed."""
        return [one for one in self.results if one[1] != 200]


@contextmanager
def continuous_load(stack: Stack, clients: int = 6, *, keep_alive: bool = True) -> Iterator[LoadResult]:
    """Send GET and POST requests continuously within a `with` block."""
    load = LoadResult([], Counter())
    done = Event()

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=TIMEOUT)
        turn = 0
        while not done.is_set():
            turn += 1
            method = "POST" if turn % 4 == 0 else "GET"
            try:
                response = send_on(
                    connection, "/probe/echo", method=method, body=b"x" * 1000 if method == "POST" else None
                )
            except (http.client.HTTPException, OSError):
                load.results.append((method, 0))
                connection.close()
                continue
            load.results.append((method, response.status))
            if response.status == 200:
                load.processes[json.loads(response.text)["process"]] += 1
            if not keep_alive:
                connection.close()
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        runs = [pool.submit(run) for _ in range(clients)]
        try:
            yield load
        finally:
            done.set()
        for one in runs:
            one.result()


@pytest.mark.parametrize("stack", stacks(FIRST_STACKS[:1]), indirect=True, scope="module")
def test_requests_are_spread_over_workers(stack: Stack) -> None:
    """All of the proxy's idle connections lead to one worker while the other is suspended; soon both get requests."""
    wait_until(lambda: len(stack.server.workers()) == 2)
    suspended, running_worker = stack.server.workers()
    os.kill(suspended, signal.SIGSTOP)
    try:
        with continuous_load(stack, 16) as load:
            wait_until(lambda: load.processes[running_worker] > 500)
            assert {*load.processes} == {running_worker}
            os.kill(suspended, signal.SIGCONT)
            seen = len(load.results)
            wait_until(lambda: load.processes[suspended] > 1000)
            # A connection is closed after a thousand requests anyway.
            assert len(load.results) - seen < 10_000
    finally:
        os.kill(suspended, signal.SIGCONT)


def test_idle_connections_do_not_block_others(stack: Stack) -> None:
    """Connections that the proxy opened for a burst of requests do not delay later requests."""
    with ThreadPoolExecutor(64) as clients:
        for _ in range(3):
            assert {response.status for response in clients.map(stack.request, ["/probe/slow?seconds=0.02"] * 256)} == {
                200
            }
    with continuous_load(stack) as load:
        wait_until(lambda: len(load.results) > 500, timeout=TIMEOUT / 4)
    assert not load.failed()


def test_killed_worker_costs_only_its_requests(each_stack: Stack) -> None:
    """Each of six clients loses at most one request, two behind Apache, and then all succeed.

    Apache may send a client's next request on another idle connection to the same worker before it detects the failure.
    """
    allowed = 12 if isinstance(each_stack.proxy, Apache) else 6
    with continuous_load(each_stack) as load:
        wait_until(lambda: len(load.results) > 300)
        wait_until(lambda: len({*load.processes} & each_stack.server.workers()) == 2)
        before = {*load.processes}
        worker = next(iter(before & each_stack.server.workers()))
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: bool({*load.processes} - before))
        seen = len(load.results)
        wait_until(lambda: len(load.results) > seen + 500)
    assert len(load.failed()) <= allowed
    assert {status for _, status in load.failed()} <= {0, 502, 503}


def test_server_reload_loses_no_request(each_stack: Stack) -> None:
    """All workers are replaced under load, and at least 2,000 requests succeed.

    Only granian may close a connection that it has just accepted.
    """
    with continuous_load(each_stack) as load:
        wait_until(lambda: len(load.results) > 300)
        before = {*load.processes}
        each_stack.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len({*load.processes} - before) >= 2)
        seen = len(load.results)
        wait_until(lambda: len(load.results) > max(2000, seen + 500))
    allowed = 4 if (each_stack.project / "deploy" / "granian_server.py").exists() else 0
    assert len(load.failed()) <= allowed, each_stack.proxy.error_log()[-2000:]
    assert len(load.results) > 2000


def test_proxy_reload_loses_no_request(stack: Stack) -> None:
    """The proxy reloads its configuration under load, as for a renewed certificate."""
    reload = {"nginx": signal.SIGHUP, "apache": signal.SIGUSR1}[stack.proxy.name]
    with continuous_load(stack, keep_alive=False) as load:
        wait_until(lambda: len(load.results) > 300)
        stack.proxy.process.send_signal(reload)
        wait_until(lambda: len(load.results) > 2000)
    assert not load.failed()


# --- other proxies in front of the same server -----------------------------------------------------


@contextmanager
def other_proxy(stack: Stack, change: Callable[[Path], object] | None = None, **variables: str) -> Iterator[Stack]:
    """Run another proxy in front of the same server within a `with` block."""
    with private_folder() as folder:
        proxy = type(stack.proxy)(stack.project, folder, stack.server.bind, **variables)
        if change:
            change(proxy.conf)
        with proxy.running():
            yield Stack(proxy, stack.server, stack.project)


def trust_loopback(conf: Path) -> None:
    """Trust a load balancer on loopback, as the configuration file describes."""
    file = conf / "trusted-proxies.conf"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"(?m)^#(\w+ )10\.0\.0\.0/8", r"\g<1>127.0.0.1", text), encoding="utf-8")


def test_trusted_proxy_headers_are_used(stack: Stack) -> None:
    """Client address, scheme and request ID of a trusted proxy are used, but not what its client sent before them."""
    with other_proxy(stack, trust_loopback) as balanced:
        response = balanced.request(
            "/probe/echo",
            X_Forwarded_For="6.6.6.6, 203.0.113.7",
            X_Forwarded_Proto="https",
            X_Request_ID="given.by-the_balancer",
        )
        data = json.loads(response.text)
        assert (data["client"], data["scheme"], data["id"]) == ("203.0.113.7", "https", "given.by-the_balancer")
        assert response.headers["strict-transport-security"].startswith("max-age=31536000")
        assert response.headers["x-request-id"] == "given.by-the_balancer"
        invalid = balanced.request(
            "/probe/echo", X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="gopher", X_Request_ID='a"b{}'
        )
        data = json.loads(invalid.text)
        assert data["scheme"] == "http"
        assert '"' not in data["id"]
        wait_until(lambda: any(line["client"] == "203.0.113.7" for line in balanced.proxy.access_log()))


def test_site_works_below_prefix(each_stack: Stack) -> None:
    """Pages, static files, redirects, cookies, limits and the OpenAPI document work below a path prefix."""
    with other_proxy(each_stack, URL_PREFIX=PREFIX) as prefixed:
        (prefixed.proxy.public / "static").mkdir()
        (prefixed.proxy.public / "static" / "style.0123456789ab.css").write_bytes(STATIC[""])
        for path in ("", "/", "/docs"):
            page = prefixed.request(f"{PREFIX}{path}", Accept="text/html")
            assert page.status == 200
            links = {*re.findall(r' (?:href|src)="([^"]*)"', page.text)}
            assert len(links) >= 4
            assert all(link.startswith(f"{PREFIX}/") for link in links), links
            assert {prefixed.request(link).status for link in links} == {200}
        style = prefixed.request(f"{PREFIX}/static/style.0123456789ab.css")
        assert (style.body, style.headers["cache-control"]) == (PLAIN, "public, max-age=31536000, immutable")
        assert json.loads(prefixed.request(f"{PREFIX}/docs/openapi.json").text)["servers"] == [{"url": PREFIX}]
        data = json.loads(prefixed.request(f"{PREFIX}/probe/echo?a=%2F", "POST", body="x" * 1000).text)
        assert (data["prefix"], data["bytes"]) == (PREFIX, 1000)
        entered = prefixed.request(f"{PREFIX}/probe/session", "POST")
        assert (entered.status, entered.headers["location"]) == (302, f"{PREFIX}/docs")
        assert f"Path={PREFIX};" in f"{entered.headers['set-cookie']};"
        assert random_value(prefixed.request(f"{PREFIX}/probe/public?a")) == random_value(
            prefixed.request(f"{PREFIX}/probe/public?a")
        )
        assert f'href="{PREFIX}/' in prefixed.request(f"{PREFIX}/nowhere", Accept="text/html").text
        assert prefixed.request(f"{PREFIX}/.env").status == 404
        assert prefixed.request(f"{PREFIX}ping").status == 404
        prefixed.proxy.closed.touch()
        assert prefixed.request(f"{PREFIX}/docs").status == 503
        assert {prefixed.request(f"{path}/health/ready").status for path in ("", PREFIX)} == {200}
        assert not any("health" in str(line["path"]) for line in prefixed.proxy.access_log())


def test_prefix_header_of_trusted_proxy_is_used(stack: Stack) -> None:
    """X-Forwarded-Prefix of a trusted proxy is part of links and of the cache key."""
    with other_proxy(stack, trust_loopback) as balanced:
        seen = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "http"}
        for prefix, expected in (("/a", "/a"), ("/a/b.c", "/a/b.c"), ("//evil.test", ""), ("/a/../b", ""), ("", "")):
            data = json.loads(balanced.request("/probe/echo", X_Forwarded_Prefix=prefix, **seen).text)
            assert data["prefix"] == f"{expected}{PREFIX}"
        one, other = (balanced.request("/probe/public?b", X_Forwarded_Prefix=prefix, **seen) for prefix in ("/a", "/b"))
        assert random_value(one) != random_value(other)
    data = json.loads(stack.request("/probe/echo", X_Forwarded_Prefix="/a").text)
    assert data["prefix"] == PREFIX


@pytest.mark.parametrize("stack", stacks(FIRST_STACKS[:1]), indirect=True, scope="module")
def test_browser_opens_documentation_below_prefix(stack: Stack, tmp_path: Path) -> None:
    """The documentation page loads its script, which loads the OpenAPI document and shows every operation."""
    # GitHub's runners have Chrome.
    browser = "google-chrome" if shutil.which("google-chrome") else "chromium"
    with other_proxy(stack, URL_PREFIX=PREFIX) as prefixed:
        page = subprocess.run(
            [
                program(browser, "chromium"),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                f"--user-data-dir={tmp_path}",
                f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
                "--virtual-time-budget=20000",
                "--dump-dom",
                f"http://{HOST}:{prefixed.port}{PREFIX}/docs",
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        ).stdout
    assert 'data-path="/api/v1/primes"' in page, page[-2000:]
    assert f'<option value="{PREFIX}">' in page


def test_tls_and_http2(stack: Stack) -> None:
    """The site has TLS 1.3 and HTTP/2; HTTP redirects to it, except for ACME challenges."""
    with other_proxy(stack, SITE="https") as secure:
        context = tls_context(secure.proxy.conf / "tls" / "fullchain.pem")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(connect(secure.proxy), server_hostname=HOST) as connection:
            assert connection.version() == "TLSv1.3"
            assert connection.selected_alpn_protocol() == "h2"
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            assert connection.recv(9)[3] == 4  # a SETTINGS frame

        old = tls_context(secure.proxy.conf / "tls" / "fullchain.pem")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with closing(connect(secure.proxy)) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname=HOST)

        with closing(connect_tls(secure.proxy)) as client:
            response = send_on(client, "/probe/echo")
            assert json.loads(response.text)["scheme"] == "https"
            assert response.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            error = send_on(client, "/.env", Accept="text/html")
            assert error.status == 404
            assert "strict-transport-security" in error.headers
            assert "strict-transport-security" in send_on(client, "/static/plain.css").headers

        redirect = secure.request("/docs?a=1", method="POST")
        assert (redirect.status, redirect.headers["location"]) == (308, f"https://{HOST}/docs?a=1")
        assert secure.request("/", Host="elsewhere.test").status == 421
        assert secure.request("/health/live", Host="10.0.0.1").status == 200
        challenge = secure.proxy.folder / "acme" / ".well-known" / "acme-challenge" / "token-1"
        challenge.parent.mkdir(parents=True)
        challenge.write_text("challenge-response")
        assert secure.request("/.well-known/acme-challenge/token-1").text == "challenge-response"
        assert secure.request("/.well-known/acme-challenge/../../../conf/tls/privkey.pem").status in {308, 400, 404}


def connect(proxy: Proxy) -> socket.socket:
    """Connect to the proxy's HTTPS port without TLS."""
    return socket.create_connection(("127.0.0.1", proxy.https), TIMEOUT)


def connect_tls(proxy: Proxy) -> http.client.HTTPSConnection:
    """Connect with TLS and trust the proxy's certificate."""
    context = tls_context(proxy.conf / "tls" / "fullchain.pem")

    class Named(http.client.HTTPSConnection):
        def connect(self) -> None:
            self.sock = context.wrap_socket(connect(proxy), server_hostname=HOST)

    return Named("127.0.0.1", proxy.https, timeout=TIMEOUT)


UNAVAILABLE = "The application is unavailable. Try again later."


def test_unavailable_application_returns_502_or_503(stack: Stack) -> None:
    """The proxy responds with its own 502 or 503 immediately, with Retry-After."""
    with private_folder() as folder:
        proxy = type(stack.proxy)(stack.project, folder, f"127.0.0.1:{free_port()}")
        with proxy.running():
            stack = Stack(proxy, stack.server, stack.project)
            page, problem = request_both(stack, "/")
            # Apache has one status for all connection errors.
            check_error(page, problem, 503 if isinstance(proxy, Apache) else 502)
            assert json.loads(problem.text)["detail"] == UNAVAILABLE
            assert UNAVAILABLE in page.text
            assert page.headers["retry-after"] == problem.headers["retry-after"] == "5"


def test_slow_application_returns_504(stack: Stack) -> None:
    """The timeout is one second here. Apache 2.4.71 responds with 502 to all read errors."""

    def shorten(conf: Path) -> None:
        for file in (conf / "proxy.conf", conf / "application.conf"):
            if file.exists():
                text = file.read_text(encoding="utf-8")
                file.write_text(
                    re.sub(r"((?:_read_|\b)timeout[ =]|ProxyTimeout )35", r"\g<1>1", text), encoding="utf-8"
                )

    with other_proxy(stack, shorten) as short_timeout:
        problem = short_timeout.request("/probe/slow?seconds=2")
        expected = (
            (502, UNAVAILABLE) if isinstance(stack.proxy, Apache) else (504, "The application did not respond in time.")
        )
        assert (problem.status, json.loads(problem.text)["detail"]) == expected
