"""Projects with a real cache: unavailable, full or corrupt, and shared by processes, services and releases."""

import json
import pickle
import re
import socketserver
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from tests import certificates
from tests.conftest import Run
from tests.deployed_project import (
    ALLOW_ANONYMOUS,
    AUTHORIZATION,
    SHORT_TIMEOUT,
    DeployedProject,
    assert_fails_with,
    continuous_requests,
)
from tests.matrix import OPTIONS, TOKEN_COMBINATIONS, Combination, Value, parametrize_combinations
from tests.services import Cache, Directory, Memcached, Redis, Response, fetch, free_port, wait_until

SERVERS: dict[Value, type[Cache]] = {"redis": Redis, "memcached": Memcached}
DIRECTORY_CACHES = {"filesystem"}
WITHOUT_SERVER = {"none"}

PROCESSES = 2
# The cache key contains the host and port; with the same Host header, services on different ports share entries.
HOST: dict[str, Any] = {"Host": "127.0.0.1"}


def combination_with(cache: Value) -> Combination:
    """Return a combination with this cache and the catalog: the last one, since the first one has many other tests."""
    matching = [
        combination
        for combination in TOKEN_COMBINATIONS
        if combination.options["cache"] == cache and combination.options["example_app"]
    ]
    return next(combination for combination in reversed(matching) if combination.options["database"] != "none")


SERVED = [combination_with(cache) for cache in SERVERS]
CACHED = [*SERVED, *(combination_with(cache) for cache in DIRECTORY_CACHES)]

# The application with views for tests.
PROBE = (
    """
import os
import resource
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import event

from {package} import create_app
from {package}.core.cache import cache
from {package}.catalog.bulk import save_products
from {package}.catalog.schemas import ProductIn
from {package}.core.database import get_session
from {package}.core.http_caching import public

app = create_app()
computed, computing = Path("computed"), Path("computing")
if "FILE_SIZE" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_SIZE"]), resource.RLIM_INFINITY))


@event.listens_for(app.extensions["database"], "before_commit")
def delay_commit(session):
    time.sleep(float(os.environ.get("COMMIT_SECONDS", 0)))


@app.after_request
def name_process(response):
    response.headers["X-Process"] = str(os.getpid())
    return response


@app.get("/slow")
@cache.cached(tags=("nothing",))
@public()
def slow():
    began = time.time()
    computing.touch()
    time.sleep(0.5)
    computing.unlink(missing_ok=True)
    with computed.open("a") as file:
        file.write(f"{{began}} {{time.time()}}\\n")
    return str(began)


@app.post("/invalidate")
def invalidate():
    cache.invalidate("nothing")
    return ""


@app.get("/echo/<int:number>")
@cache.cached(tags=("nothing",))
@public()
def echo(number):
    return str(number)


@app.get("/large")
@cache.cached(tags=("nothing",))
@public()
def large():
    return "x" * 2_000_000


@app.post("/bulk/<sku>/<name>")
def bulk(sku, name):
    save_products([ProductIn(sku, name, 1250, 1)])
    get_session().commit()
    return "", 201


@app.get("/connections")
def connections():
    return {{"process": os.getpid(), "parent": parent, "own": find_connections()}}


def find_connections():
    # Concurrent requests duplicate file descriptors here, so a connection may be listed twice.
    found = set()
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as copy:
                    if copy.getpeername()[1:2] == (urlsplit(app.config["CACHE_URL"]).port,):
                        found.add(copy.getsockname()[1])
    return sorted(found)

"""
    + ALLOW_ANONYMOUS
    + """
# Use the cache before the server forks.
client = app.test_client()
client.get("/echo/0", base_url="http://127.0.0.1")
client.post("/nowhere", base_url="http://127.0.0.1")
parent = find_connections()
"""
)


@pytest.fixture
def cache(combination: Combination, tmp_path: Path) -> Iterator[Cache | Directory]:
    """Provide an empty cache."""
    if combination.options["cache"] in DIRECTORY_CACHES:
        yield Directory(tmp_path / "cached")
        return
    with SERVERS[combination.options["cache"]].running() as server:
        yield server


@pytest.fixture
def server(cache: Cache) -> Cache:
    """Return the cache, for tests that need a server."""
    return cache


@pytest.fixture(scope="session")
def _catalogs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Combination, DeployedProject], Path]:
    databases: dict[str, Path] = {}

    def create(combination: Combination, deployed: DeployedProject) -> Path:
        if combination.id not in databases:
            file = tmp_path_factory.mktemp("catalog") / "catalog.sqlite3"
            deployed.variables["DATABASE_URL"] = f"sqlite:///{file}"
            deployed.migrate_and_seed("--extra", "200")
            databases[combination.id] = file
        return databases[combination.id]

    return create


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database, with the transactions that are still in its log."""
    with closing(sqlite3.connect(source)) as connection, closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


@pytest.fixture
def deployed(
    combination: Combination,
    workspace: Path,
    venv_bin: Path,
    run: Run,
    clean_env: dict[str, str],
    cache: Cache | Directory,
    _catalogs: Callable[[Combination, DeployedProject], Path],
) -> DeployedProject:
    """Return a project with production settings, this cache, and an SQLite copy of the seeded catalog."""
    deployed = DeployedProject(workspace, venv_bin, run, clean_env)
    file = workspace.parent / "catalog.sqlite3"
    copy_database(_catalogs(combination, deployed), file)
    # The timeout is generous, so that a busy machine does not look like an unresponsive cache.
    deployed.variables |= {"DATABASE_URL": f"sqlite:///{file}", "CACHE_URL": cache.url, "CACHE_TIMEOUT": "2"}
    (workspace / "probe.py").write_text(PROBE.format(package=deployed.package))
    return deployed


def log_record_of(deployed: DeployedProject, site: str, response: Response) -> dict[str, Any]:
    """Return the log record of a request, which is written before the response's body."""
    (record,) = (
        record
        for record in deployed.log_records(site, "request")
        if record["request_id"] == response.headers["X-Request-ID"]
    )
    return record


def is_cached(deployed: DeployedProject, site: str, path: str) -> bool:
    """Send a request and return whether the response came from the cache."""
    response = fetch(site + path)
    assert response.status == 200
    return "cache_hits" in log_record_of(deployed, site, response)


def name_that_sorts_first() -> str:
    """Return a name that sorts before all earlier ones."""
    return f"  {2**32 - time.time():.6f}"


def add_product(site: str, sku: str) -> None:
    """Add a product that sorts first in the list."""
    product = {"sku": sku, "name": name_that_sorts_first(), "price_cents": 1250, "category_id": 1}
    assert fetch(f"{site}/api/v1/products", method="POST", body=product, **AUTHORIZATION).status == 201


def lists_begin_with(site: str, sku: str, *, times: int = 12) -> bool:
    """Return whether all lists that concurrent clients request begin with a product."""
    with ThreadPoolExecutor(4) as clients:
        responses = list(clients.map(fetch, [f"{site}/api/v1/products"] * times))
    assert {response.status for response in responses} == {200}
    return {json.loads(response.text)["items"][0]["sku"] for response in responses} == {sku}


def readiness(site: str) -> str:
    """Return the status of the readiness check, which responds with 200 even when the cache fails."""
    response = fetch(f"{site}/health/ready", timeout=SHORT_TIMEOUT)
    assert response.status == 200, response
    report = json.loads(response.text)
    failed = [name for name, check in report["checks"].items() if check["status"] != "ok"]
    assert failed == ([] if report["status"] == "ok" else ["cache"]), report
    assert not re.search("127[.]0|Traceback|/cached", response.text), response.text
    return str(report["status"])


def test_every_cache_is_tested() -> None:
    """Every value of the option has a server or a directory here, or needs neither."""
    assert {*OPTIONS["cache"]} == SERVERS.keys() | DIRECTORY_CACHES | WITHOUT_SERVER


@parametrize_combinations([combination for combination in CACHED if combination.options["cache"] in DIRECTORY_CACHES])
def test_project_tests_pass_with_real_cache(
    project_with_core_tests: Path, venv_bin: Path, run: Run, cache: Cache | Directory
) -> None:
    """The project's tests of cached components pass on a real directory; with cache servers, the CI job runs them."""
    parts = [
        part
        for part in ("core/cache", "catalog", "core/rate_limiting")
        if (project_with_core_tests / "tests" / part).exists()
    ]
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider", *(f"tests/{part}" for part in parts)]
    result = run(venv_bin / command[0], *command[1:], cwd=project_with_core_tests, TEST_CACHE_URL=cache.url)
    assert result.returncode == 0, result.stdout + result.stderr


Outage = Callable[[], AbstractContextManager[None]]


def outages(cache: Cache | Directory) -> list[Outage]:
    """Return context managers that make the cache unavailable."""
    return [cache.unavailable] if isinstance(cache, Directory) else [cache.paused, cache.unavailable]


@parametrize_combinations(CACHED)
def test_requests_succeed_without_cache(deployed: DeployedProject, cache: Cache | Directory) -> None:
    """While the cache hangs or is down, requests succeed without delay; afterwards the cache is used again."""
    started = time.monotonic()
    products = "/api/v1/products"
    # No entry expires during this test.
    variables: dict[str, Any] = {"CACHE_TIMEOUT": "0.2", "CACHE_VIEW_TTL": "3600"}
    with deployed.serve(**variables) as site, continuous_requests(site + products) as responses:
        for number, outage in enumerate(outages(cache)):
            wait_until(lambda: is_cached(deployed, site, products))
            assert readiness(site) == "ok"

            with outage():
                before, logged = len(responses), len(deployed.log_records(site, "request"))
                wait_until(lambda since=before: len(responses) > since + 200)  # type: ignore[misc]
                assert readiness(site) == "degraded"
                add_product(site, f"MEANWHILE-{number}")
                assert lists_begin_with(site, f"MEANWHILE-{number}")
                records = deployed.log_records(site, "request")[logged:]
                waited = [record for record in records if record["duration_ms"] > 150]
                assert len(waited) < len(records) / 2, "every request waits for the timeout"

            wait_until(lambda: readiness(site) == "ok")
            wait_until(lambda: is_cached(deployed, site, products))
            # A process that wrote meanwhile sends its pending invalidations as soon as it uses the cache again.
            wait_until(partial(lists_begin_with, site, f"MEANWHILE-{number}"))

    assert {response.status for response in responses} == {200}
    assert max(response.took for response in responses) < SHORT_TIMEOUT
    warnings = deployed.log_records(site, "cache failed")
    intervals = 1 + (time.monotonic() - started) // 30
    assert 0 < len(warnings) <= PROCESSES * intervals + 2, "one warning per request"
    assert all(record["level"] == "warning" for record in warnings)


@parametrize_combinations(CACHED)
def test_requests_succeed_with_full_cache(deployed: DeployedProject, cache: Cache | Directory) -> None:
    """Responses that cannot be stored are correct, and writes are visible."""
    # Only Redis reports that it is full; for the others a value is too large.
    path, limit = "/large", "1000000"
    if isinstance(cache, Redis):
        cache.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        path = "/echo/1"
    with deployed.serve("probe:app", FILE_SIZE=limit if isinstance(cache, Directory) else "-1") as site:
        fetch(f"{site}/api/v1/products")
        fetch(f"{site}/echo/0")
        assert is_cached(deployed, site, "/echo/0")
        if isinstance(cache, Redis):
            cache.command("CONFIG", "SET", "maxmemory", "1")
        source = fetch(site + path).text
        before = len(cache.keys())
        for _ in range(10):
            response = fetch(site + path)
            assert response.status == 200
            assert response.text == source
            assert "cache_hits" not in log_record_of(deployed, site, response)
        assert len(cache.keys()) <= before, "failed writes leave keys behind"
        add_product(site, "WHEN-FULL")
        assert lists_begin_with(site, "WHEN-FULL")
        assert readiness(site) == "ok"
        assert len(deployed.log_records(site, "cache failed")) <= PROCESSES + 2

        if isinstance(cache, Redis):
            cache.command("CONFIG", "SET", "maxmemory", "0")
        assert fetch(f"{site}/echo/2").status == 200
        assert is_cached(deployed, site, "/echo/2")


class Hostile:
    """Creates a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Store the path of the directory."""
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        """Return the call that pickle makes when it loads the object."""
        return Path.mkdir, (self.path,)


@parametrize_combinations(CACHED)
def test_corrupt_entries_are_ignored(deployed: DeployedProject, cache: Cache | Directory, tmp_path: Path) -> None:
    """Corrupt entries count as misses and are replaced; pickled code is not executed."""
    with deployed.serve("probe:app") as site:
        path, source = "/api/v1/products", fetch(f"{site}/api/v1/products").text
        for template in ("{site}/api/v1/categories", "{site}/api/v1/statistics", "{site}/echo/1"):
            fetch(template.format(site=site))

        def assert_response(*, garbage: bool) -> None:
            response = fetch(site + path)
            assert response.status == 200
            assert response.text == source
            assert ("cache_hits" in log_record_of(deployed, site, response)) is not garbage

        keys = cache.keys()
        values = {key: cache.get(key) for key in keys if ":value:" in key.replace("/", ":")}
        assert len(values) > 3
        stored = next(value for value in values.values() if b"Copper watering can" in value)
        bomb = pickle.dumps(Hostile(tmp_path / "executed"))
        for garbage in (
            bomb,
            b"",
            b"\xff" * 9,
            stored[:-9],
            stored[9:],
            stored + b"more",
            b"\x91" * 10_000,
            b'{"a": 1}',
        ):
            assert_response(garbage=False)
            for key in keys:
                cache.set(key, garbage)
            assert_response(garbage=True)
        assert_response(garbage=False)
        if isinstance(cache, Redis):
            for key in values:
                cache.command("DEL", key)
                cache.command("RPUSH", key, bomb)
            assert_response(garbage=True)
        assert not (tmp_path / "executed").exists()
        assert len(deployed.log_records(site, "cache failed")) <= PROCESSES + 2


WRONG_REPLIES = {
    "closes immediately": b"",
    "is a web server": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "says OK": b"+OK\r\n" * 5,
    "counts": b":7\r\n" * 5,
    "gives less": b"+OK\r\n+OK\r\n*0\r\n",
    "gives something else": b"+OK\r\n+OK\r\n*3\r\n*1\r\n:1\r\n:2\r\n:3\r\n",
    "gives no size": b"VALUE a b c\r\n",
    "gives other keys": b"VALUE a 0 1\r\nx\r\nEND\r\n",
    "gives no numbers": b"VALUE a 0 1 x 1\r\nEND\r\n" * 3,
    "gives too much": b"\xff" * 1_000_000,
}

# A new application for each request, since the circuit breaker would protect a later request.
WRONG_REPLY_SCRIPT = """
import json
import os
import sys

from {package} import create_app
from {package}.config import load_settings

statuses = dict()
for url in sys.argv[1:]:
    settings = load_settings(os.environ | dict(CACHE_URL=url, RATE_LIMIT_WRITES="1/day"))
    def request(path, **more):
        return create_app(settings).test_client().open(path, base_url="http://127.0.0.1", **more).status_code
    statuses[url] = [request("/api/v1/products"), request("/nowhere", method="PUT"), request("/health/ready")]
print(json.dumps(statuses))
"""


@contextmanager
def constant_server(name: bytes) -> Iterator[int]:
    """Run a server within a `with` block that sends the same reply to everything; the value is its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while name and self.request.recv(10_000):
                    self.request.sendall(name)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@parametrize_combinations(SERVED)
def test_requests_succeed_with_wrong_server(combination: Combination, deployed: DeployedProject) -> None:
    """Requests succeed whatever replies at the cache's address."""
    with ExitStack() as stack:
        urls = {
            name: f"{combination.options['cache']}://127.0.0.1:{stack.enter_context(constant_server(text))}"
            for name, text in WRONG_REPLIES.items()
        }
        command = [
            deployed.programs / "python",
            "-c",
            WRONG_REPLY_SCRIPT.format(package=deployed.package),
            *urls.values(),
        ]
        result = deployed.run(*command, cwd=deployed.folder, **deployed.variables | {"CACHE_TIMEOUT": "0.1"})
    assert result.returncode == 0, result.stdout + result.stderr
    statuses = json.loads(result.stdout.splitlines()[-1])
    assert {name: statuses[url] for name, url in urls.items()} == {name: [200, 404, 200] for name in WRONG_REPLIES}


@parametrize_combinations(CACHED)
def test_writes_are_visible_immediately(deployed: DeployedProject) -> None:
    """Products that the API, a bulk update or a command changes appear in the lists of all processes immediately."""
    products = "/api/v1/products"
    deployed.variables["DATABASE_URL"] = f"sqlite:///{deployed.folder.parent}/empty.sqlite3"
    deployed.migrate()
    with deployed.serve("probe:app", COMMIT_SECONDS="0.1") as site:
        wait_until(lambda: is_cached(deployed, site, products))
        assert json.loads(fetch(site + products).text)["items"] == []
        deployed.run_flask("seed")
        assert lists_begin_with(site, "BOOKS-1")

        with continuous_requests(site + products) as responses:
            processes = set()
            for number in range(5):
                wait_until(lambda: is_cached(deployed, site, products))
                add_product(site, f"NEW-{number}")
                assert lists_begin_with(site, f"NEW-{number}")
                processes |= {fetch(f"{site}/echo/1").headers["X-Process"] for _ in range(4)}
            assert len(processes) == PROCESSES
            assert fetch(f"{site}/bulk/BULK/{quote(name_that_sorts_first())}", method="POST").status == 201
            assert lists_begin_with(site, "BULK")
            first = f"{site}{products}/{json.loads(fetch(site + products).text)['items'][0]['id']}"
            headers: dict[str, Any] = {"If-Match": fetch(first).headers["ETag"]}
            assert fetch(first, method="DELETE", **headers, **AUTHORIZATION).status == 204
            assert lists_begin_with(site, "NEW-4")
        assert {response.status for response in responses} == {200}


@parametrize_combinations(CACHED)
def test_concurrent_requests_compute_once(deployed: DeployedProject) -> None:
    """Among all processes and threads one request computes a value; others wait for it, or get the stale one."""
    log = deployed.folder / "computed"
    ttl: dict[str, Any] = {"CACHE_VIEW_TTL": "1"}

    def computations() -> int:
        return len(log.read_text().splitlines())

    with (
        deployed.serve("probe:app", threads=16, **ttl) as one,
        deployed.serve("probe:app", threads=16, **ttl) as other,
        ThreadPoolExecutor(16) as clients,
    ):

        def request_all() -> set[str]:
            responses = list(clients.map(partial(fetch, **HOST), [f"{one}/slow", f"{other}/slow"] * 8))
            assert {response.status for response in responses} == {200}
            return {response.text for response in responses}

        assert len(request_all()) == 1
        assert computations() == 1

        with (
            continuous_requests(f"{one}/slow", **HOST) as responses,
            continuous_requests(f"{other}/slow", **HOST) as other_responses,
        ):
            wait_until(lambda: computations() > 2)
        assert {response.status for response in (*responses, *other_responses)} == {200}
        times = [[float(timestamp) for timestamp in line.split()] for line in log.read_text().splitlines()]
        pauses = [later[0] - earlier[1] for earlier, later in pairwise(times)]
        assert min(pauses) > 0.8, "computed again while it was fresh"
        waited = [response for response in (*responses, *other_responses) if response.took > 0.45]
        assert len(waited) <= 2 * len(times), "other requests waited, too"

        # A value that is invalidated while it is computed is computed once more.
        assert fetch(f"{one}/invalidate", method="POST").status == 200
        before = computations()
        pending = clients.submit(request_all)
        wait_until((deployed.folder / "computing").exists)
        assert fetch(f"{other}/invalidate", method="POST").status == 200
        assert len(pending.result()) <= 2
        assert computations() == before + 2


@parametrize_combinations(CACHED)
def test_services_and_releases_share_a_cache(deployed: DeployedProject, cache: Cache | Directory) -> None:
    """Services do not read or clear each other's entries; releases of a service see each other's writes."""
    other = deployed.folder.parent / "other.sqlite3"
    copy_database(deployed.folder.parent / "catalog.sqlite3", other)
    other_settings: dict[str, Any] = {"CACHE_PREFIX": "other-service", "DATABASE_URL": f"sqlite:///{other}"}
    path = "/api/v1/products"
    with (
        deployed.serve() as site,
        deployed.serve(CACHE_VERSION="2") as release,
        deployed.serve(**other_settings) as service,
    ):

        def is_hit(base_url: str) -> bool:
            response = fetch(base_url + path, **HOST)
            return "cache_hits" in log_record_of(deployed, base_url, response)

        add_product(service, "OTHER-SERVICE")
        for base_url in (site, release, service):
            assert not is_hit(base_url)
            assert is_hit(base_url)
        assert json.loads(fetch(site + path, **HOST).text) != json.loads(fetch(service + path, **HOST).text)

        add_product(release, "BY-A-RELEASE")
        for base_url in (site, release):
            assert json.loads(fetch(base_url + path, **HOST).text)["items"][0]["sku"] == "BY-A-RELEASE"
        assert is_hit(service)

        if not isinstance(cache, Directory):
            cache.set("other-client", b"value")
        before = cache.keys()
        assert deployed.run_flask("cache", "clear").startswith("Deleted ")
        others = {key for key in before if re.search("^other-client|other-service.*(value|tag)", key)}
        assert len(others) > 2
        assert others <= {*cache.keys()}
        assert is_hit(service)
        assert not is_hit(site)


@parametrize_combinations(SERVED)
def test_processes_share_write_limit(deployed: DeployedProject, server: Cache) -> None:
    """The write limit of a client applies to all processes together; without the server each process counts alone."""
    limit = 10
    variables: dict[str, Any] = {"RATE_LIMIT_WRITES": f"{limit}/hour", "CACHE_TIMEOUT": "0.2"}
    with (
        deployed.serve(**variables) as one,
        deployed.serve(**variables) as other,
        ThreadPoolExecutor(4) as clients,
    ):

        def write() -> list[int]:
            urls = [f"{one}/api/v1/products", f"{other}/api/v1/products"] * 20
            request = partial(fetch, method="POST", body={}, timeout=SHORT_TIMEOUT, **AUTHORIZATION)
            return [response.status for response in clients.map(request, urls)]

        statuses = write()
        assert {*statuses} == {422, 429}
        assert statuses.count(422) == limit
        assert fetch(f"{one}/api/v1/products").status == 200

        for outage in (server.paused, server.unavailable):
            with outage():
                statuses += write()
        assert {*statuses} == {422, 429}
        assert limit < statuses.count(422) <= limit * (1 + 2 * PROCESSES)


@parametrize_combinations(CACHED)
@pytest.mark.parametrize("threads", [4, 1])
def test_forked_processes_share_no_connection(
    deployed: DeployedProject, cache: Cache | Directory, threads: int
) -> None:
    """Processes do not use connections that the parent opened before the fork, with one thread or several."""
    with deployed.serve("probe:app", threads=threads) as site, ThreadPoolExecutor(8) as clients:

        def request(number: int) -> dict[str, Any]:
            assert fetch(f"{site}/echo/{number}").text == str(number)
            assert fetch(f"{site}/nowhere", method="POST", body={}).status == 404
            connections: dict[str, Any] = json.loads(fetch(f"{site}/connections").text)
            return connections

        def request_both_processes() -> dict[int, dict[str, Any]]:
            processes: dict[int, dict[str, Any]] = {}
            wait_until(
                lambda: (
                    processes.update({one["process"]: one for one in clients.map(request, range(60))})
                    or len(processes) == PROCESSES
                )
            )
            return processes

        request_both_processes()
        # By now each process has opened its own connections.
        processes = [*request_both_processes().values()]
        (parent,) = {(*one["parent"],) for one in processes}
        assert bool(parent) is not isinstance(cache, Directory)
        assert deployed.log_records(site, "cache failed") == []
    connections = [*parent, *(connection for one in processes for connection in one["own"])]
    assert len({*connections}) == len(connections), f"shared: {processes}"


WRONG_URLS = {
    "no URL": ("{scheme}//:{password}@127.0.0.1", "CACHE_URL: "),
    "another cache": ("oracle://:{password}@127.0.0.1", "CACHE_URL: expected {scheme}"),
    "no port": ("{scheme}://:{password}@127.0.0.1:port", "CACHE_URL: "),
    "no server": ("{scheme}://127.0.0.1:{port}", "cache: .*refused"),
}
WRONG_DIRECTORY_URLS = {
    "no path": ("file:{password}", "CACHE_URL: "),
    "a host": ("file://host/{password}", "CACHE_URL: "),
    "another cache": ("oracle://:{password}@127.0.0.1", "CACHE_URL: expected file"),
}


@parametrize_combinations(CACHED)
def test_wrong_url_is_reported(combination: Combination, deployed: DeployedProject, cache: Cache | Directory) -> None:
    """The error message has one line and does not contain the password."""
    values = {"scheme": combination.options["cache"], "password": "pass-of-the-cache", "port": free_port()}
    urls = dict(WRONG_DIRECTORY_URLS if isinstance(cache, Directory) else WRONG_URLS)
    if isinstance(cache, Redis):
        cache.command("CONFIG", "SET", "requirepass", "right")
        urls["unknown option"] = (f"{cache.url}/0?nonsense={{password}}", "CACHE_URL|nonsense")
        urls["wrong password"] = (f"redis://:{{password}}@127.0.0.1:{cache.port}/0", "(?i)cache: .*password")
    for wrong, (url, reason) in urls.items():
        result = deployed.flask("cache", "clear", CACHE_URL=url.format(**values))
        print(wrong, result.stderr)
        assert_fails_with(result, reason.format(**values), str(values["password"]))

    result = deployed.alembic("check", CACHE_URL="")
    assert_fails_with(result, "CACHE_URL is missing")


@parametrize_combinations([combination for combination in CACHED if combination.options["cache"] == "redis"])
def test_tls_certificate_is_verified(deployed: DeployedProject, server: Redis) -> None:
    """An unknown CA or another host name is rejected, also with the option in the URL."""
    option, private = "?ssl_cert_reqs=CERT_REQUIRED", str(certificates.create().authority)
    cases = [
        (server.tls_url + option, private, ""),
        (server.tls_url.replace("localhost", "127.0.0.1"), private, "cache: .*certificate"),
        (server.tls_url + option, str(certificates.create("unknown").authority), "cache: .*certificate"),
        (server.tls_url, "", "cache: .*certificate"),
    ]
    with ThreadPoolExecutor() as pool:
        settings = [{"CACHE_URL": url, "CACHE_CA_FILE": authority} for url, authority, _ in cases]
        right, *wrong = pool.map(lambda variables: deployed.flask("cache", "clear", **variables), settings)
    assert right.returncode == 0, right.stderr
    for result, (_, _, reason) in zip(wrong, cases[1:], strict=True):
        assert_fails_with(result, reason)
    deployed.variables |= settings[0]
    with deployed.serve() as site:
        assert json.loads(fetch(f"{site}/health/ready").text)["checks"]["cache"]["status"] == "ok"
        # The rate limiter counts this request in the cache.
        fetch(f"{site}/nowhere", method="POST", body={})
        assert [key for key in server.keys() if "writes" in key]  # noqa: SIM118 - no dictionary
