"""Projects with real database servers, as in production."""

import json
import re
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import certificates
from tests.application_servers import application_server
from tests.conftest import Run
from tests.deployed_project import (
    ALLOW_ANONYMOUS,
    AUTHORIZATION,
    SHORT_TIMEOUT,
    DeployedProject,
    assert_fails_with,
    continuous_requests,
)
from tests.matrix import (
    OPTIONS,
    TOKEN_COMBINATIONS,
    WITHOUT_PACKAGE,
    Answers,
    Combination,
    Value,
    parametrize_combinations,
)
from tests.services import (
    Database,
    DatabaseServer,
    MariaDB,
    PgBouncer,
    PostgreSQL,
    fetch,
    free_port,
    wait_until,
)

SERVERS: dict[Value, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mysql": MariaDB}
WITHOUT_SERVER = {"sqlite", "none", *WITHOUT_PACKAGE}


def combination_with(database: Value, **options: Value) -> Combination:
    """Return a combination with this database and these options, the example and a cache.

    The combinations contain every pair of values, so there is always one with the database and one more option.
    """
    selected = {"database": database, **options}
    combination = next(each for each in TOKEN_COMBINATIONS if selected.items() <= each.options.items())
    required: Answers = {"example_app": True}
    if combination.options["cache"] == "none":
        required["cache"] = "redis"
    if required.items() <= combination.options.items():
        return combination
    return replace(combination, id=f"{combination.id}-and-products", options={**combination.options, **required})


SERVED = [combination_with(database) for database in SERVERS]
GUNICORN = [combination_with(database, wsgi_server="gunicorn") for database in SERVERS]
STORED = [*SERVED, combination_with("sqlite")]

# A statement of two seconds; SQLite cannot sleep, so it counts.
SLOW: dict[Value, str] = {
    **{name: server.sleep_query.format(2) for name, server in SERVERS.items()},
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000000) SELECT max(i) FROM n",
}
SLOW_MIGRATION = '''"""Slow."""

from alembic import op

revision = "slow"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("{statement}")


def downgrade() -> None:
    pass
'''

# The application with views for tests; it connects to the database before the server forks.
PROBE = """
import os
import time

from flask import request
from sqlalchemy import text

from {package} import create_app
from {package}.core.cache import cache
from {package}.core.database import get_session

app = create_app()


@cache.memoize()
def cached(number: int) -> int:
    return get_session().scalar(text("SELECT :number"), {{"number": number}})


def connection():
    return get_session().scalar(text("{connection}"))


with app.app_context():
    parent = connection()


@app.get("/echo/<int:number>")
def echo(number):
    time.sleep(float(request.args.get("after", 0)))
    value = get_session().scalar(text("SELECT :number"), {{"number": number}})
    return {{"number": value, "process": os.getpid(), "parent": parent, "connection": connection()}}


@app.get("/cached/<int(signed=True):number>")
def cached_echo(number):
    time.sleep(float(request.args.get("after", 0)))
    return {{"number": cached(number)}}


@app.get("/slow")
def slow():
    get_session().execute(text("{sleep}"))
    return {{}}

"""


READING = """
from sqlalchemy import func, insert, literal_column, select, text
from sqlalchemy.orm import joinedload

from {package} import create_app
from {package}.catalog.models import Category, Product
from {package}.core.database import get_session

app = create_app()


@app.get("/products")
def products():
    query = select(Product).options(joinedload(Product.category)).where(Product.id < 9)
    return [product.category.name for product in get_session().scalars(query)]


@app.get("/prepared")
def prepared():
    return str(get_session().scalar(text("SELECT count(*) FROM pg_prepared_statements")))


def get_status():
    driver_connection = get_session().connection().connection.driver_connection
    return driver_connection.info.transaction_status.name


@app.get("/transactions")
def transactions():
    session = get_session()
    first = session.get(Category, 1)
    found = [get_status()]
    session.get(Category, 1, with_for_update=True)
    found.append(get_status())
    session.commit()
    names = select(Category.name).execution_options(yield_per=1)
    assert len(session.scalars(names).all()) == len(session.scalars(select(Category.name)).all())
    session.rollback()
    session.connection(execution_options={{"isolation_level": "REPEATABLE READ"}})
    session.scalars(select(Category)).all()
    return [*found, get_status()]


@app.get("/write/<way>")
def write(way):
    session = get_session()
    session.scalars(select(Category)).all()
    if way == "flush":
        session.add(Category(name="Lost 1"))
        session.flush()
    elif way == "text":
        lost = "INSERT INTO category (name) VALUES ('Lost 2') RETURNING id"
        session.execute(text(f"WITH new AS ({{lost}}) SELECT id FROM new"))
    elif way == "function":
        session.scalar(select(func.lose()))
    elif way == "column":
        session.scalar(select(literal_column("lose()")))
    elif way == "driver":
        cursor = session.connection().connection.cursor()
        cursor.execute("INSERT INTO category (name) VALUES ('Lost 5')")
    else:
        new = insert(Category).values(name="Lost 3").returning(Category.id).cte()
        session.execute(select(new.c.id))
    return {{}}
"""
PROBE += ALLOW_ANONYMOUS
READING += ALLOW_ANONYMOUS


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Value], DatabaseServer]]:
    """Return a function that returns the server of a database; each starts on first use, once per process."""
    with ExitStack() as stack:
        yield cache(lambda database: stack.enter_context(SERVERS[database].running()))


@pytest.fixture
def server(combination: Combination, servers: Callable[[Value], DatabaseServer]) -> DatabaseServer:
    """Return the server of a combination. A test that stops it must start it again."""
    return servers(combination.options["database"])


@pytest.fixture
def database(combination: Combination, servers: Callable[[Value], DatabaseServer], tmp_path: Path) -> Database:
    """Create an empty database."""
    if combination.options["database"] in SERVERS:
        return servers(combination.options["database"]).create_database()
    file = tmp_path / "production.sqlite3"

    def query(statement: str) -> str:
        with closing(sqlite3.connect(file)) as connection, connection:
            return "\n".join("|".join(map(str, line)) for line in connection.execute(statement))

    return Database(f"sqlite:///{file}", query)


@pytest.fixture
def deployed(
    workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], database: Database
) -> DeployedProject:
    """Return the project with production settings and an empty database."""
    return DeployedProject(workspace, venv_bin, run, {**clean_env, "DATABASE_URL": database.url})


@pytest.fixture
def probe(combination: Combination, deployed: DeployedProject) -> str:
    """Return the import path of the application with views for tests."""
    server = SERVERS[combination.options["database"]]
    text = PROBE.format(
        package=deployed.package, connection=server.connection_id_query, sleep=server.sleep_query.format(30)
    )
    (deployed.folder / "probe.py").write_text(text)
    return "probe:app"


def test_every_database_is_tested() -> None:
    """Every value of the option has a server here or needs none."""
    assert {*OPTIONS["database"]} == SERVERS.keys() | WITHOUT_SERVER


@parametrize_combinations(STORED)
def test_missing_settings_are_reported(deployed: DeployedProject) -> None:
    """One message without a traceback lists all missing settings."""
    required = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL")
    result = deployed.alembic("upgrade", "head", **dict.fromkeys(required, ""))
    assert result.returncode != 0
    assert all(name in result.stderr for name in required), result.stderr
    assert "Traceback" not in result.stderr


@parametrize_combinations(SERVED)
def test_requests_recover_from_database_restart(deployed: DeployedProject, server: DatabaseServer) -> None:
    """Under load, requests get 503 while the server is down, and 200 as soon as it is up again."""
    deployed.migrate_and_seed()
    with deployed.serve() as site:
        # The view of one product reads the database on every request; lists may be cached.
        product = f"{site}/api/v1/products/1"
        with continuous_requests(product) as responses:

            def wait_for(status: int, since: float = 0) -> None:
                wait_until(lambda: sum(one.status == status and one.began > since for one in responses) > 50)

            wait_for(200)
            assert json.loads(fetch(product).text)["id"] == 1
            assert fetch(f"{site}/health/ready").status == 200

            with server.unavailable():
                wait_for(503)
                broken = fetch(product)
                assert broken.status == 503
                assert int(broken.headers["Retry-After"]) > 0
                assert broken.headers.get_content_type() == "application/problem+json"
                assert not re.search(f"{server.port}|{server.owner}|127[.]0|Traceback", broken.text), broken.text
                ready = fetch(f"{site}/health/ready", timeout=SHORT_TIMEOUT)
                assert ready.status == 503
                assert [
                    name for name, check in json.loads(ready.text)["checks"].items() if check["status"] != "ok"
                ] == ["database"]
                assert not re.search(f"{server.port}|{server.owner}|127[.]0", ready.text), ready.text
                assert fetch(f"{site}/health/live").status == 200

            restarted = time.monotonic()
            wait_for(200, since=restarted)
            assert fetch(f"{site}/health/ready").status == 200

        assert {one.status for one in responses} == {200, 503}
        assert {one.status for one in responses if one.began > restarted} == {200}
        assert max(one.took for one in responses) < SHORT_TIMEOUT

        with server.unavailable():
            pass  # Without requests, the pool still contains broken connections.
        assert {fetch(product).status for _ in range(20)} == {200}


@parametrize_combinations(SERVED)
def test_hanging_database_returns_503_within_the_timeout(
    deployed: DeployedProject, probe: str, server: DatabaseServer
) -> None:
    """A suspended server keeps its connections and accepts new ones; liveness probes still get 200."""
    deployed.application = probe
    # The same number of threads as in the server's configuration.
    with deployed.serve(probe, threads=9, WEB_THREADS="4") as site, ThreadPoolExecutor(40) as clients:

        def request(path: str) -> tuple[int, float]:
            began = time.monotonic()
            return fetch(f"{site}{path}", timeout=SHORT_TIMEOUT).status, time.monotonic() - began

        # One process can handle this number concurrently; the first requests may be slow.
        for _ in range(5):
            assert {status for status, _ in clients.map(request, ["/echo/1"] * 4)} == {200}
        with server.paused():
            # The last requests have no connection yet.
            # The first requests sleep before they query the database, and that time counts as well.
            paths = ["/echo/1?after=2"] * 8 + ["/echo/1"] * 22
            hanging = [clients.submit(request, path) for path in paths]
            command = clients.submit(deployed.flask, "routes")  # imports the application, which queries the database
            while not all(one.done() for one in hanging):
                status, took = request("/health/live")
                assert (status, took < 2) == (200, True), took  # expected: 1 s without other load
                time.sleep(0.1)
            assert {one.result()[0] for one in hanging} == {503}
            assert max(one.result()[1] for one in hanging) < 6.8  # expected: 5 s without other load
            assert max(one.result()[1] for one in hanging) > 2
            # Jobs fail like commands do, and are retried after such an error.
            assert "OperationalError" in command.result().stderr
        assert {request("/echo/1")[0] for _ in range(20)} == {200}


@parametrize_combinations(GUNICORN)
@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_waits_of_a_request_share_a_deadline(
    combination: Combination,
    deployed: DeployedProject,
    probe: str,
    server: DatabaseServer,
    venv_bin: Path,
    worker_class: str,
) -> None:
    """Waiting for a computed value, for a pooled connection and for the database have one common timeout."""
    variables = {name: deployed.variables[name] for name in ("DATABASE_URL", "PYTHONPATH")}
    variables |= {"WEB_WORKER_CLASS": worker_class, "WEB_CONCURRENCY": "1", "WEB_THREADS": "24"}
    # As long as the timeout of a request, so that two waits with separate timeouts take 9 s or more.
    variables["DATABASE_CONNECT_TIMEOUT"] = "5"
    log = deployed.folder.parent / "log"
    with (
        application_server(deployed.folder, combination, venv_bin, log, options=(probe,), **variables) as site,  # type: ignore[arg-type]
        ThreadPoolExecutor(30) as clients,
    ):

        def request(path: str) -> tuple[int, float]:
            began = time.monotonic()
            return site.request(path).status, time.monotonic() - began

        # A new pool has no connections, a used one has some.
        for number, connected in enumerate((0, 4), start=1):
            assert {status for status, _ in clients.map(request, ["/echo/1"] * connected)} <= {200}
            with server.paused():
                paths = [f"/cached/{number}"] * 6 + [f"/cached/-{number}?after=4"] * 6 + ["/echo/1"] * 12
                hanging = [clients.submit(request, path) for path in paths]
                while not all(one.done() for one in hanging):
                    status, took = request("/health/live")
                    assert (status, took < 2) == (200, True), took  # expected: 1 s without other load
                    time.sleep(0.1)
                assert {one.result()[0] for one in hanging} == {503}
                assert max(one.result()[1] for one in hanging) < 8  # expected: 5.1 s without other load
            assert {request(f"/cached/{10 + turn}")[0] for turn in range(20)} == {200}


@parametrize_combinations([combination_with("postgresql")])
def test_closed_connections_are_replaced(deployed: DeployedProject, database: Database) -> None:
    """A connection that has just been used is not pinged, but is replaced if the server has closed it."""
    deployed.migrate_and_seed()
    with deployed.serve(threads=1) as site:
        for _ in range(20):
            assert fetch(f"{site}/api/v1/products/1").status == 200
            terminated = database.query(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE pid != pg_backend_pid() AND datname = current_database()"
            )
            assert int(terminated) > 0


@parametrize_combinations([combination_with("postgresql")])
def test_queries_need_no_transaction(deployed: DeployedProject, database: Database) -> None:
    """A rollback makes psycopg 3.3.9 discard prepared statements, so queries alone start no transaction.

    Whatever may write starts one, and is rolled back with it.
    """
    deployed.migrate_and_seed()
    lost = "INSERT INTO category (name) VALUES ('Lost 4') RETURNING id"
    database.query(f"CREATE FUNCTION lose() RETURNS int LANGUAGE sql AS $$ {lost} $$")
    (deployed.folder / "reading.py").write_text(READING.format(package=deployed.package))
    with deployed.serve("reading:app", threads=1) as site:
        for _ in range(60):
            assert fetch(f"{site}/products").status == 200
        assert max(json.loads(fetch(f"{site}/prepared").text) for _ in range(10)) > 0
        # PostgreSQL then rejects the prepared statements that return this column.
        database.query("ALTER TABLE category ALTER COLUMN name TYPE varchar(90)")
        assert {fetch(f"{site}/products").status for _ in range(20)} == {200}
        assert json.loads(fetch(f"{site}/transactions").text) == ["IDLE", "INTRANS", "INTRANS"]
        for way in ("flush", "text", "function", "column", "cte", "driver"):
            assert fetch(f"{site}/write/{way}").status == 200
    assert database.query("SELECT count(*) FROM category WHERE name LIKE 'Lost%'") == "0"


@parametrize_combinations(SERVED)
def test_forked_processes_do_not_share_connections(deployed: DeployedProject, probe: str) -> None:
    """Worker processes open their own connections after the fork."""
    with deployed.serve(probe) as site, ThreadPoolExecutor(8) as clients:

        def request(number: int) -> dict[str, int]:
            response = fetch(f"{site}/echo/{number}", timeout=SHORT_TIMEOUT)
            assert response.status == 200, response
            result: dict[str, int] = json.loads(response.text)
            return result

        results: list[dict[str, int]] = []

        def both_processes_responded() -> bool:
            results.extend(clients.map(request, range(100)))
            return len({one["process"] for one in results}) == 2

        wait_until(both_processes_responded)

    assert [one["number"] for one in results] == [*range(100)] * (len(results) // 100)
    users = {(one["process"], one["connection"]) for one in results}
    connections = [connection for _, connection in users]
    assert len({*connections}) == len(connections), "two processes use one connection"
    assert not {one["parent"] for one in results} & {*connections}


@parametrize_combinations(SERVED)
def test_slow_statement_returns_503(deployed: DeployedProject, probe: str) -> None:
    """A statement above the timeout returns 503, and its connection can be used again."""
    with deployed.serve(probe, DATABASE_STATEMENT_TIMEOUT="0.5") as site:
        with ThreadPoolExecutor(8) as clients:
            responses = clients.map(lambda _: fetch(f"{site}/slow", timeout=SHORT_TIMEOUT), range(8))
            assert {response.status for response in responses} == {503}
        assert fetch(f"{site}/echo/1", timeout=SHORT_TIMEOUT).status == 200


@parametrize_combinations(STORED)
def test_concurrent_migrations_take_turns(
    combination: Combination, deployed: DeployedProject, database: Database
) -> None:
    """Three processes apply a migration that takes longer than the statement timeout; it is applied once."""
    versions = deployed.folder / "migrations" / "versions"
    newest = max(path.name for path in versions.glob("*.py")).partition("_")[0]
    slow = SLOW_MIGRATION.format(newest=newest, statement=SLOW[combination.options["database"]])
    (versions / "slow.py").write_text(slow)
    with ThreadPoolExecutor(3) as starters:
        results = starters.map(
            lambda _: deployed.alembic("upgrade", "head", DATABASE_STATEMENT_TIMEOUT="0.5"), range(3)
        )
        for result in results:
            assert result.returncode == 0, result.stdout + result.stderr
    assert database.query("SELECT version_num FROM alembic_version") == "slow"

    assert "No new upgrade operations" in deployed.migrate("check")
    deployed.migrate("downgrade", "base")
    assert database.query("SELECT count(*) FROM alembic_version") == "0"


@parametrize_combinations(SERVED)
def test_migration_fails_on_locked_table(deployed: DeployedProject, server: DatabaseServer, database: Database) -> None:
    """The migration stops waiting for a table in use and leaves it unchanged."""
    deployed.migrate_and_seed()
    began = time.monotonic()
    with server.transaction(database.url.rpartition("/")[2], "SELECT count(*) FROM product"):
        assert_fails_with(deployed.alembic("downgrade", "base"), "(?i)lock", server.password)
    assert time.monotonic() - began < 2 * SHORT_TIMEOUT
    # Earlier migrations were undone and can be applied again.
    deployed.migrate()
    deployed.migrate("check")


WRONG_URLS = {
    "no URL": ("{scheme}//owner:{password}@127.0.0.1/name", "DATABASE_URL: "),
    "no port": ("{scheme}://owner:{password}@127.0.0.1:port/name", "DATABASE_URL: "),
    "another database": ("oracle://owner:{password}@127.0.0.1:{port}/name", "DATABASE_URL: expected {scheme}"),
    "unknown option": ("{url}?nonsense={password}", "DATABASE_URL|nonsense"),
    "no server": ("{scheme}://owner:{password}@127.0.0.1:{free_port}/name", "refused"),
    "wrong password": ("{scheme}://owner:wrong-{password}@127.0.0.1:{port}/name", "password"),
    "unknown name": ("{scheme}://owner:{password}@127.0.0.1:{port}/nowhere", "nowhere"),
}


@parametrize_combinations(SERVED)
@pytest.mark.parametrize(("template", "reason"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_wrong_url_is_reported(
    deployed: DeployedProject, server: DatabaseServer, database: Database, template: str, reason: str
) -> None:
    """The error message has one line and does not contain the password."""
    values = {"scheme": server.scheme, "password": server.password, "port": server.port}
    url = template.format(**values, url=database.url, free_port=free_port())
    assert_fails_with(deployed.alembic("upgrade", "head", DATABASE_URL=url), reason.format(**values), server.password)


@parametrize_combinations(STORED)
def test_outdated_database_is_reported(deployed: DeployedProject) -> None:
    """Commands fail without the newest migrations; `test_migrations.py` tests a database with an unknown revision."""
    assert "FAILED: Target database is not up to date" in deployed.alembic("check").stdout
    assert_fails_with(deployed.flask("seed"), "category")


@parametrize_combinations([combination_with("sqlite")])
def test_sqlite_writers_take_turns(deployed: DeployedProject, tmp_path: Path) -> None:
    """Eight concurrent writers in two processes all succeed. A command leaves one file that is complete."""
    deployed.migrate_and_seed()
    files = [path.name for path in tmp_path.glob("**/*.sqlite3*")]
    assert files == ["production.sqlite3"], files
    with deployed.serve() as site:
        products = f"{site}/api/v1/products"
        category_id = json.loads(fetch(f"{site}/api/v1/categories").text)[0]["id"]

        def product(sku: str) -> dict[str, object]:
            return {"sku": sku, "name": "Kite", "price_cents": 1250, "category_id": category_id}

        shared = f"{site}{fetch(products, method='POST', body=product('SHARED'), **AUTHORIZATION).headers['Location']}"

        def write(number: int) -> set[int]:
            statuses = set()
            for turn in range(10):
                kite = product(f"KITE-{number}-{turn}")
                statuses.add(fetch(products, method="POST", body=kite, **AUTHORIZATION).status)
                seen: dict[str, Any] = {"If-Match": fetch(shared).headers["ETag"], **AUTHORIZATION}
                statuses.add(fetch(shared, method="PUT", body=product("SHARED"), **seen).status)
            return statuses

        with ThreadPoolExecutor(8) as writers:
            statuses = set().union(*writers.map(write, range(8)))
        # 412: another client changed the product in between.
        assert {201, 200} <= statuses <= {201, 200, 412}


IMPORT = "sku,name,price_cents,category_id,stock\n" + "".join(
    f"{{0}}-{number},Kite,1250,1,7\n" for number in range(2000)
)


@parametrize_combinations([combination_with("postgresql")])
def test_service_works_through_a_transaction_pooler(
    deployed: DeployedProject, probe: str, server: DatabaseServer, database: Database
) -> None:
    """Concurrent migrations, then imports, reads and writes: no 500, no failed job, and timeouts apply."""
    with PgBouncer.running(str(server.port)) as pooler, ThreadPoolExecutor(8) as clients:
        deployed.variables["DATABASE_URL"] = re.sub("^[a-z]+(.*):[0-9]+/", rf"postgres\1:{pooler.port}/", database.url)
        deployed.variables["DATABASE_POOLER"] = "transaction"
        for result in clients.map(lambda _: deployed.alembic("upgrade", "head"), range(2)):
            assert result.returncode == 0, result.stdout + result.stderr
        deployed.migrate("check")
        deployed.run_flask("seed")
        with deployed.serve(probe, DATABASE_STATEMENT_TIMEOUT="2") as site:
            products = f"{site}/api/v1/products"

            def send(number: int) -> str:
                text = IMPORT.format(f"KITE-{number % 2}")
                headers = {"Content-Type": "text/csv", **AUTHORIZATION}
                request = urllib.request.Request(f"{products}/imports", text.encode(), headers)
                with urllib.request.urlopen(request, timeout=SHORT_TIMEOUT) as response:
                    return str(json.load(response)["state"])

            with continuous_requests(f"{products}/1") as responses:
                assert {*clients.map(send, range(4))} == {"succeeded"}
                texts = clients.map(lambda number: fetch(f"{site}/echo/{number}").text, range(100))
                assert [json.loads(text)["number"] for text in texts] == [*range(100)]
            assert {one.status for one in responses} == {200}
            assert fetch(f"{site}/slow", timeout=SHORT_TIMEOUT).status == 503
            assert fetch(f"{site}/health/ready").status == 200
        assert (
            server.query(database.url.rpartition("/")[2], "SELECT count(*) FROM product WHERE sku LIKE 'KITE-_-%'")
            == "4000"
        )


@parametrize_combinations(SERVED)
def test_migrations_use_their_own_url(deployed: DeployedProject, database: Database) -> None:
    """`DATABASE_MIGRATION_URL` is used even if the server of `DATABASE_URL` is down."""
    unreachable = re.sub(":[0-9]+/", f":{free_port()}/", database.url)
    deployed.migrate("upgrade", "head", DATABASE_URL=unreachable, DATABASE_MIGRATION_URL=database.url)
    assert_fails_with(
        deployed.alembic("check", DATABASE_URL=database.url, DATABASE_MIGRATION_URL=unreachable), "refused"
    )


@parametrize_combinations(SERVED)
def test_tls_certificate_is_verified(combination: Combination, deployed: DeployedProject) -> None:
    """Commands and the web server reject an unknown CA and another host name."""
    option = {"postgresql": "sslmode=verify-full", "mysql": "ssl_mode=VERIFY_IDENTITY"}[
        str(combination.options["database"])
    ]
    with SERVERS[combination.options["database"]].running_with_tls() as server, ThreadPoolExecutor() as starters:
        url = server.create_database().url
        right = {
            "DATABASE_URL": url.replace("127.0.0.1", "localhost"),
            "DATABASE_CA_FILE": str(certificates.create().authority),
        }
        wrong = [
            {**right, "DATABASE_URL": url},
            {**right, "DATABASE_CA_FILE": str(certificates.create("unknown").authority)},
            {**right, "DATABASE_CA_FILE": "", "DATABASE_URL": f"{right['DATABASE_URL']}?{option}"},
        ]
        for result in starters.map(lambda settings: deployed.alembic("upgrade", "head", **settings), wrong):
            assert_fails_with(result, "(?i)certificate", server.password)
        deployed.migrate("upgrade", "head", **right)
        for settings, status in ((right, 200), (wrong[0], 503)):
            deployed.variables |= settings
            with deployed.serve() as site:
                assert fetch(f"{site}/api/v1/products").status == status
                assert fetch(f"{site}/health/ready").status == status
