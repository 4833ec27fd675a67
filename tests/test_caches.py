"""Projects with a real cache: gone, silent, full and lying; shared by processes, services and releases."""

import json
import pickle
import re
import socketserver
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from shutil import copyfile
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from tests.answers import OPTIONS, ROWS, Row, Value, each
from tests.conftest import Run
from tests.production import PROMPT, Production, load, refused
from tests.services import Answer, Cache, Directory, Memcached, Redis, fetch, free_port, wait_until

SERVERS: dict[Value, type[Cache]] = {"redis": Redis, "memcached": Memcached}
FILES = {"filesystem"}
EMBEDDED = {"none"}

PROCESSES = 2
# Services at different ports are told apart by it: here they are to look alike.
HOST: dict[str, Any] = {"Host": "127.0.0.1"}


def row_of(cache: Value) -> Row:
    """A row of a cache, with a catalog; not the first one, whose group has much to do already."""
    fits = [row for row in ROWS if row.options["cache"] == cache and row.options["example_app"]]
    return next(row for row in reversed(fits) if row.options["database"] != "none")


SERVED = [row_of(cache) for cache in SERVERS]
CACHED = [*SERVED, *(row_of(cache) for cache in FILES)]

# The application, with views that only tests need.
PROBE = """
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
from {package}.cache import get_cache, keep_view
from {package}.catalog.bulk import save_products
from {package}.catalog.schemas import ProductInput
from {package}.database import get_session
from {package}.http_caching import public

app = create_app()
made, making = Path("made"), Path("making")
if "FILE_SIZE" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_SIZE"]), resource.RLIM_INFINITY))


@event.listens_for(app.extensions["database"], "before_commit")
def take_long(session):
    time.sleep(float(os.environ.get("COMMIT_SECONDS", 0)))


@app.after_request
def name_process(response):
    response.headers["X-Process"] = str(os.getpid())
    return response


@app.get("/slow")
@public()
def slow():
    began = time.time()
    making.touch()
    time.sleep(0.5)
    making.unlink(missing_ok=True)
    with made.open("a") as file:
        file.write(f"{{began}} {{time.time()}}\\n")
    return str(began)


@app.post("/forget")
def forget():
    get_cache().forget("nothing")
    return ""


@app.get("/echo/<int:number>")
@public()
def echo(number):
    return str(number)


@app.get("/large")
@public()
def large():
    return "x" * 2_000_000


@app.post("/bulk/<sku>/<name>")
def bulk(sku, name):
    save_products([ProductInput(sku, name, 1250, 1)])
    get_session().commit()
    return "", 201


@app.get("/connections")
def connections():
    return {{"process": os.getpid(), "parent": parent, "own": find_connections()}}


def find_connections():
    # Another thread that looks at the same time duplicates what is found here too.
    found = set()
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as copy:
                    if copy.getpeername()[1:2] == (urlsplit(app.config["CACHE_URL"]).port,):
                        found.add(copy.getsockname()[1])
    return sorted(found)


for endpoint in ("slow", "echo", "large"):
    keep_view(app, endpoint, "nothing")

# Used before a server forks.
client = app.test_client()
client.get("/echo/0", base_url="http://127.0.0.1")
client.post("/nowhere", base_url="http://127.0.0.1")
parent = find_connections()
"""


@pytest.fixture
def cache(row: Row, tmp_path: Path) -> Iterator[Cache | Directory]:
    """A new cache, with nothing in it."""
    if row.options["cache"] in FILES:
        yield Directory(tmp_path / "kept")
        return
    with SERVERS[row.options["cache"]].for_a_while() as server:
        yield server


@pytest.fixture
def server(cache: Cache) -> Cache:
    """The same, where it is a server."""
    return cache


@pytest.fixture(scope="session")
def _catalogs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row, Production], Path]:
    made: dict[str, Path] = {}

    def make(row: Row, production: Production) -> Path:
        if row.id not in made:
            file = tmp_path_factory.mktemp("catalog") / "catalog.sqlite3"
            production.variables["DATABASE_URL"] = f"sqlite:///{file}"
            production.prepare("--more", "200")
            made[row.id] = file
        return made[row.id]

    return make


@pytest.fixture
def production(
    row: Row,
    workspace: Path,
    environment: Path,
    run: Run,
    bare: dict[str, str],
    cache: Cache | Directory,
    _catalogs: Callable[[Row, Production], Path],
) -> Production:
    """The project in production on its cache; its catalog, for whichever database, is a file of its own."""
    production = Production(workspace, environment, run, bare)
    file = workspace.parent / "catalog.sqlite3"
    copyfile(_catalogs(row, production), file)
    # A busy machine must not look like a slow cache.
    production.variables |= {"DATABASE_URL": f"sqlite:///{file}", "CACHE_URL": cache.url, "CACHE_TIMEOUT": "2"}
    (workspace / "probe.py").write_text(PROBE.format(package=production.package))
    return production


def figures(production: Production, site: str, answer: Answer) -> dict[str, Any]:
    """What the log says of a request; its line is written before the answer's body."""
    (record,) = (
        record
        for record in production.records(site, "request")
        if record["request_id"] == answer.headers["X-Request-ID"]
    )
    return record


def is_kept(production: Production, site: str, path: str) -> bool:
    """Ask, and tell whether the answer came from the cache."""
    answer = fetch(site + path)
    assert answer.status == 200
    return "cache_hits" in figures(production, site, answer)


def first_name() -> str:
    """A name that comes before all that were made before."""
    return f"  {2**32 - time.time():.6f}"


def add_product(site: str, sku: str) -> None:
    """Add a product that is the first of the list."""
    product = {"sku": sku, "name": first_name(), "price_cents": 1250, "category_id": 1}
    assert fetch(f"{site}/api/v1/products", method="POST", body=product).status == 201


def are_told(site: str, sku: str, *, times: int = 12) -> bool:
    """Tell whether all lists that are asked for, by several clients, begin with a product."""
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(fetch, [f"{site}/api/v1/products"] * times))
    assert {answer.status for answer in answers} == {200}
    return {json.loads(answer.text)["items"][0]["sku"] for answer in answers} == {sku}


def readiness(site: str) -> str:
    """Ask whether it is ready: whatever the cache does, it takes requests."""
    answer = fetch(f"{site}/health/ready", within=PROMPT)
    assert answer.status == 200, answer
    told = json.loads(answer.text)
    failed = [name for name, check in told["checks"].items() if check["status"] != "ok"]
    assert failed == ([] if told["status"] == "ok" else ["cache"]), told
    assert not re.search("127[.]0|Traceback|/kept", answer.text), answer.text
    return str(told["status"])


def test_every_cache_is_proved() -> None:
    """A value has a server here, or a directory, or needs nothing."""
    assert {*OPTIONS["cache"]} == SERVERS.keys() | FILES | EMBEDDED


@each([row for row in CACHED if row.options["cache"] in FILES])
def test_tests_pass(workspace: Path, environment: Path, run: Run, cache: Cache | Directory) -> None:
    """The project's own tests of what uses the cache, on a real folder; with servers the job of CI runs them."""
    parts = [part for part in ("cache", "catalog", "limits") if (workspace / "tests" / part).exists()]
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider", *(f"tests/{part}" for part in parts)]
    result = run(environment / command[0], *command[1:], cwd=workspace, TEST_CACHE_URL=cache.url)
    assert result.returncode == 0, result.stdout + result.stderr


Trouble = Callable[[], AbstractContextManager[None]]


def troubles(cache: Cache | Directory) -> list[Trouble]:
    """What may happen to a cache."""
    return [cache.away] if isinstance(cache, Directory) else [cache.paused, cache.away]


@each(CACHED)
def test_outlives_its_cache(production: Production, cache: Cache | Directory) -> None:
    """Under load, silent or gone: the source answers, at once; few lines warn; then it is used again."""
    started = time.monotonic()
    products = "/api/v1/products"
    # Nothing ends by itself within this test.
    variables: dict[str, Any] = {"CACHE_TIMEOUT": "0.2", "CACHE_VIEW_LIFETIME": "3600"}
    with production.serving(**variables) as site, load(site + products) as heard:
        for number, trouble in enumerate(troubles(cache)):
            wait_until(lambda: is_kept(production, site, products))
            assert readiness(site) == "ok"

            with trouble():
                began, asked = len(heard), len(production.records(site, "request"))
                wait_until(lambda since=began: len(heard) > since + 200)  # type: ignore[misc]
                assert readiness(site) == "degraded"
                add_product(site, f"MEANWHILE-{number}")
                assert are_told(site, f"MEANWHILE-{number}")
                records = production.records(site, "request")[asked:]
                waited = [record for record in records if record["duration_ms"] > 150]
                assert len(waited) < len(records) / 2, "each request waits anew"

            wait_until(lambda: readiness(site) == "ok")
            wait_until(lambda: is_kept(production, site, products))
            # Who wrote meanwhile tells the cache as soon as that process uses it again.
            wait_until(partial(are_told, site, f"MEANWHILE-{number}"))

    assert {one.status for one in heard} == {200}
    assert max(one.took for one in heard) < PROMPT
    warnings = production.records(site, "cache failed")
    intervals = 1 + (time.monotonic() - started) // 30
    assert 0 < len(warnings) <= PROCESSES * intervals + 2, "a line for each request"
    assert all(record["level"] == "warning" for record in warnings)


@each(CACHED)
def test_a_full_cache_is_survived(production: Production, cache: Cache | Directory) -> None:
    """What cannot be kept is answered all the same, and what is written is seen."""
    # Only Redis says that it is full; to the others one value is too large.
    path, limit = "/large", "1000000"
    if isinstance(cache, Redis):
        cache.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        path = "/echo/1"
    with production.serving("probe:app", FILE_SIZE=limit if isinstance(cache, Directory) else "-1") as site:
        fetch(f"{site}/api/v1/products")
        fetch(f"{site}/echo/0")
        assert is_kept(production, site, "/echo/0")
        if isinstance(cache, Redis):
            cache.ask("CONFIG", "SET", "maxmemory", "1")
        source = fetch(site + path).text
        before = len(cache.keys())
        for _ in range(10):
            answer = fetch(site + path)
            assert answer.status == 200
            assert answer.text == source
            assert "cache_hits" not in figures(production, site, answer)
        assert len(cache.keys()) <= before, "each try leaves something behind"
        add_product(site, "WHEN-FULL")
        assert are_told(site, "WHEN-FULL")
        assert readiness(site) == "ok"
        assert len(production.records(site, "cache failed")) <= PROCESSES + 2

        if isinstance(cache, Redis):
            cache.ask("CONFIG", "SET", "maxmemory", "0")
        assert fetch(f"{site}/echo/2").status == 200
        assert is_kept(production, site, "/echo/2")


class Hostile:
    """Makes a directory when pickle loads it."""

    def __init__(self, path: Path) -> None:
        """Choose the directory."""
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        """Say what to do when it is loaded."""
        return Path.mkdir, (self.path,)


@each(CACHED)
def test_garbage_is_no_answer(production: Production, cache: Cache | Directory, tmp_path: Path) -> None:
    """Whatever is found under our keys, the source answers; nothing is executed; then it is kept again."""
    with production.serving("probe:app") as site:
        path, source = "/api/v1/products", fetch(f"{site}/api/v1/products").text
        for form in ("{site}/api/v1/categories", "{site}/api/v1/statistics", "{site}/echo/1"):
            fetch(form.format(site=site))

        def answers(*, garbage: bool) -> None:
            answer = fetch(site + path)
            assert answer.status == 200
            assert answer.text == source
            assert ("cache_hits" in figures(production, site, answer)) is not garbage

        keys = cache.keys()
        values = {key: cache.get(key) for key in keys if ":value:" in key.replace("/", ":")}
        assert len(values) > 3
        kept = next(value for value in values.values() if b"Copper watering can" in value)
        bomb = pickle.dumps(Hostile(tmp_path / "executed"))
        for garbage in (bomb, b"", b"\xff" * 9, kept[:-9], kept[9:], kept + b"more", b"\x91" * 10_000, b'{"a": 1}'):
            answers(garbage=False)
            for key in keys:
                cache.put(key, garbage)
            answers(garbage=True)
        # However little of it is changed, and were it by somebody who knows how it is kept.
        answers(garbage=False)
        ((key, kept),) = ((key, cache.get(key)) for key in values if b"Copper watering can" in cache.get(key))
        for position in range(0, len(kept), 7):
            cache.put(key, kept[:position] + bytes([kept[position] ^ 0x55]) + kept[position + 1 :])
            answer = fetch(site + path)
            assert (answer.status, answer.text) == (200, source), kept[position - 9 : position + 9]
        cache.put(key, kept)
        answers(garbage=False)
        if isinstance(cache, Redis):
            for key in values:
                cache.ask("DEL", key)
                cache.ask("RPUSH", key, bomb)
            answers(garbage=True)
        assert not (tmp_path / "executed").exists()
        assert len(production.records(site, "cache failed")) <= PROCESSES + 2


LIES = {
    "closes at once": b"",
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

# An application for each request, so that none is spared by what another one has met.
LIED_TO = """
import json
import os
import sys

from {package} import create_app
from {package}.config import load_settings

told = dict()
for url in sys.argv[1:]:
    settings = load_settings(os.environ | dict(CACHE_URL=url, RATE_LIMIT_WRITES="1/day"))
    def ask(path, **more):
        return create_app(settings).test_client().open(path, base_url="http://127.0.0.1", **more).status_code
    told[url] = [ask("/api/v1/products"), ask("/nowhere", method="PUT"), ask("/health/ready")]
print(json.dumps(told))
"""


@contextmanager
def lying(lie: bytes) -> Iterator[int]:
    """A server that answers everything alike, for as long as the block takes; gives its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while lie and self.request.recv(10_000):
                    self.request.sendall(lie)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@each(SERVED)
def test_a_lying_server_is_survived(row: Row, production: Production) -> None:
    """Whatever answers at the address that should be the cache's."""
    with ExitStack() as stack:
        urls = {
            lie: f"{row.options['cache']}://127.0.0.1:{stack.enter_context(lying(text))}" for lie, text in LIES.items()
        }
        command = [production.programs / "python", "-c", LIED_TO.format(package=production.package), *urls.values()]
        result = production.run(*command, cwd=production.folder, **production.variables | {"CACHE_TIMEOUT": "0.1"})
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert {lie: told[url] for lie, url in urls.items()} == {lie: [200, 404, 200] for lie in LIES}


@each(CACHED)
def test_a_write_is_seen_at_once(production: Production) -> None:
    """By all processes, under load, however long its commit takes; and what a command writes, too."""
    products = "/api/v1/products"
    production.variables["DATABASE_URL"] = f"sqlite:///{production.folder.parent}/empty.sqlite3"
    production.succeed("db", "upgrade")
    with production.serving("probe:app", COMMIT_SECONDS="0.1") as site:
        wait_until(lambda: is_kept(production, site, products))
        assert json.loads(fetch(site + products).text)["items"] == []
        production.succeed("seed")
        assert are_told(site, "BOOKS-1")

        with load(site + products) as heard:
            processes = set()
            for number in range(5):
                wait_until(lambda: is_kept(production, site, products))
                add_product(site, f"NEW-{number}")
                assert are_told(site, f"NEW-{number}")
                processes |= {fetch(f"{site}/echo/1").headers["X-Process"] for _ in range(4)}
            assert len(processes) == PROCESSES
            assert fetch(f"{site}/bulk/BULK/{quote(first_name())}", method="POST").status == 201
            assert are_told(site, "BULK")
            first = f"{site}{products}/{json.loads(fetch(site + products).text)['items'][0]['id']}"
            mine: dict[str, Any] = {"If-Match": fetch(first).headers["ETag"]}
            assert fetch(first, method="DELETE", **mine).status == 204
            assert are_told(site, "NEW-4")
        assert {one.status for one in heard} == {200}


@each(CACHED)
def test_one_makes_what_many_want(production: Production) -> None:
    """Of all processes and threads: others wait while there is nothing, and take what is old while there is."""
    made = production.folder / "made"
    lifetime: dict[str, Any] = {"CACHE_VIEW_LIFETIME": "1"}

    def times_made() -> int:
        return len(made.read_text().splitlines())

    with (
        production.serving("probe:app", threads=16, **lifetime) as one,
        production.serving("probe:app", threads=16, **lifetime) as other,
        ThreadPoolExecutor(16) as clients,
    ):

        def ask_all() -> set[str]:
            answers = list(clients.map(partial(fetch, **HOST), [f"{one}/slow", f"{other}/slow"] * 8))
            assert {answer.status for answer in answers} == {200}
            return {answer.text for answer in answers}

        assert len(ask_all()) == 1
        assert times_made() == 1

        with load(f"{one}/slow", **HOST) as heard, load(f"{other}/slow", **HOST) as heard_too:
            wait_until(lambda: times_made() > 2)
        assert {answer.status for answer in (*heard, *heard_too)} == {200}
        times = [[float(moment) for moment in line.split()] for line in made.read_text().splitlines()]
        pauses = [later[0] - earlier[1] for earlier, later in pairwise(times)]
        assert min(pauses) > 0.8, "made again while it was fresh"
        waited = [answer for answer in (*heard, *heard_too) if answer.took > 0.45]
        assert len(waited) <= 2 * len(times), "others waited, too"

        # What changes while it is made is made again, once.
        assert fetch(f"{one}/forget", method="POST").status == 200
        before = times_made()
        asked = clients.submit(ask_all)
        wait_until((production.folder / "making").exists)
        assert fetch(f"{other}/forget", method="POST").status == 200
        assert len(asked.result()) <= 2
        assert times_made() == before + 2


@each(CACHED)
def test_services_and_releases_share_a_cache(production: Production, cache: Cache | Directory) -> None:
    """None finds what another keeps, nor empties it; what one release writes another sees at once."""
    other = production.folder.parent / "other.sqlite3"
    copyfile(production.folder.parent / "catalog.sqlite3", other)
    theirs: dict[str, Any] = {"CACHE_PREFIX": "theirs", "DATABASE_URL": f"sqlite:///{other}"}
    path = "/api/v1/products"
    with (
        production.serving() as site,
        production.serving(CACHE_VERSION="2") as release,
        production.serving(**theirs) as service,
    ):

        def is_found(at: str) -> bool:
            answer = fetch(at + path, **HOST)
            return "cache_hits" in figures(production, at, answer)

        add_product(service, "THEIRS")
        for at in (site, release, service):
            assert not is_found(at)
            assert is_found(at)
        assert json.loads(fetch(site + path, **HOST).text) != json.loads(fetch(service + path, **HOST).text)

        add_product(release, "BY-A-RELEASE")
        for at in (site, release):
            assert json.loads(fetch(at + path, **HOST).text)["items"][0]["sku"] == "BY-A-RELEASE"
        assert is_found(service)

        if not isinstance(cache, Directory):
            cache.put("somebody", b"else")
        before = cache.keys()
        assert "value" in production.succeed("cache", "stats")
        assert production.succeed("cache", "clear").startswith("Forgot ")
        assert "values" not in production.succeed("cache", "stats")
        others = {key for key in before if re.search("^somebody|theirs.*(value|tag)", key)}
        assert len(others) > 2
        assert others <= {*cache.keys()}
        assert is_found(service)
        assert not is_found(site)


@each(SERVED)
def test_processes_count_writes_together(production: Production, server: Cache) -> None:
    """A client may write as often as the settings say, at all processes; each counts alone without the server."""
    limit = 10
    variables: dict[str, Any] = {"RATE_LIMIT_WRITES": f"{limit}/hour", "CACHE_TIMEOUT": "0.2"}
    with (
        production.serving(**variables) as one,
        production.serving(**variables) as other,
        ThreadPoolExecutor(4) as clients,
    ):

        def write() -> list[int]:
            addresses = [f"{one}/api/v1/products", f"{other}/api/v1/products"] * 20
            ask = partial(fetch, method="POST", body={}, within=PROMPT)
            return [answer.status for answer in clients.map(ask, addresses)]

        statuses = write()
        assert {*statuses} == {422, 429}
        assert statuses.count(422) == limit
        assert fetch(f"{one}/api/v1/products").status == 200

        for trouble in (server.paused, server.away):
            with trouble():
                statuses += write()
        assert {*statuses} == {422, 429}
        assert limit < statuses.count(422) <= limit * (1 + 2 * PROCESSES)


@each(CACHED)
@pytest.mark.parametrize("threads", [4, 1])
def test_forked_processes_share_no_connection(production: Production, cache: Cache | Directory, threads: int) -> None:
    """What the parent has opened before it forks stays the parent's, whether its only thread goes on or others do."""
    with production.serving("probe:app", threads=threads) as site, ThreadPoolExecutor(8) as clients:

        def ask(number: int) -> dict[str, Any]:
            assert fetch(f"{site}/echo/{number}").text == str(number)
            assert fetch(f"{site}/nowhere", method="POST", body={}).status == 404
            told: dict[str, Any] = json.loads(fetch(f"{site}/connections").text)
            return told

        def both_answer() -> dict[int, dict[str, Any]]:
            told: dict[int, dict[str, Any]] = {}
            wait_until(
                lambda: (
                    told.update({one["process"]: one for one in clients.map(ask, range(60))}) or len(told) == PROCESSES
                )
            )
            return told

        both_answer()
        # By now each has used its own.
        told = [*both_answer().values()]
        (parent,) = {(*one["parent"],) for one in told}
        assert bool(parent) is not isinstance(cache, Directory)
        assert production.records(site, "cache failed") == []
    connections = [*parent, *(connection for one in told for connection in one["own"])]
    assert len({*connections}) == len(connections), f"shared: {told}"


ADDRESSES = {
    "no address": ("{scheme}//:{password}@127.0.0.1", "CACHE_URL: "),
    "another cache": ("oracle://:{password}@127.0.0.1", "CACHE_URL: expected {scheme}"),
    "no port": ("{scheme}://:{password}@127.0.0.1:port", "CACHE_URL: "),
    "nobody listens": ("{scheme}://:{password}@127.0.0.1:{port}", "the cache: .*refused"),
}
FOLDERS = {
    "no path": ("file:{password}", "CACHE_URL: "),
    "a host": ("file://host/{password}", "CACHE_URL: "),
    "another cache": ("oracle://:{password}@127.0.0.1", "CACHE_URL: expected file"),
}


@each(CACHED)
def test_a_wrong_address_is_told(row: Row, production: Production, cache: Cache | Directory) -> None:
    """In one line, which does not tell the password."""
    known = {"scheme": row.options["cache"], "password": "pass-of-the-cache", "port": free_port()}
    addresses = dict(FOLDERS if isinstance(cache, Directory) else ADDRESSES)
    if isinstance(cache, Redis):
        cache.ask("CONFIG", "SET", "requirepass", "right")
        addresses["unknown option"] = (f"{cache.url}/0?nonsense={{password}}", "CACHE_URL|nonsense")
        addresses["wrong password"] = (f"redis://:{{password}}@127.0.0.1:{cache.port}/0", "(?i)the cache: .*password")
    for wrong, (address, reason) in addresses.items():
        result = production.flask("cache", "clear", CACHE_URL=address.format(**known))
        print(wrong, result.stderr)
        refused(result, reason.format(**known), str(known["password"]))

    result = production.flask("db", "check", CACHE_URL="")
    refused(result, "CACHE_URL is missing")
