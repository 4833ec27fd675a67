"""Projects against the real servers that they would have in production."""

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.answers import OPTIONS, ROWS, Row, Value, each
from tests.conftest import Run
from tests.production import PROMPT, Production, load, refused
from tests.services import Database, DatabaseServer, MariaDB, PostgreSQL, fetch, free_port, wait_until

SERVERS: dict[Value, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mysql": MariaDB}
EMBEDDED = {"sqlite", "none"}


def row_of(database: Value) -> Row:
    """A row of a database, with the example."""
    return next(row for row in ROWS if row.options["database"] == database and row.options["example_app"])


SERVED = [row_of(database) for database in SERVERS]
STORED = [*SERVED, row_of("sqlite")]

# Two seconds on a server; in SQLite, which cannot sleep, it takes as long as it takes.
SLOW: dict[Value, str] = {
    **{name: server.sleep.format(2) for name, server in SERVERS.items()},
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

# The application, with views that only tests need; it has used its engine before a server forks.
PROBE = """
import os

from sqlalchemy import text

from {package} import create_app
from {package}.database import get_session

app = create_app()


def connection():
    return get_session().scalar(text("{connection}"))


with app.app_context():
    parent = connection()


@app.get("/echo/<int:number>")
def echo(number):
    answer = get_session().scalar(text("SELECT :number"), {{"number": number}})
    return {{"number": answer, "process": os.getpid(), "parent": parent, "connection": connection()}}


@app.get("/slow")
def slow():
    get_session().execute(text("{sleep}"))
    return {{}}
"""


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[Value], DatabaseServer]]:
    """Servers by the database's name: each is started once in a process, when it is first wanted."""
    with ExitStack() as stack:
        yield cache(lambda database: stack.enter_context(SERVERS[database].for_a_while()))


@pytest.fixture
def server(row: Row, servers: Callable[[Value], DatabaseServer]) -> DatabaseServer:
    """The server of a row. Whoever stops it starts it again."""
    return servers(row.options["database"])


@pytest.fixture
def database(row: Row, servers: Callable[[Value], DatabaseServer], tmp_path: Path) -> Database:
    """A new, empty database."""
    if row.options["database"] in SERVERS:
        return servers(row.options["database"]).create()
    file = tmp_path / "production.sqlite3"

    def ask(statement: str) -> str:
        with closing(sqlite3.connect(file)) as connection, connection:
            return "\n".join("|".join(map(str, line)) for line in connection.execute(statement))

    return Database(f"sqlite:///{file}", ask)


@pytest.fixture
def production(workspace: Path, environment: Path, run: Run, bare: dict[str, str], database: Database) -> Production:
    """The project in production, on a new, empty database."""
    return Production(workspace, environment, run, {**bare, "DATABASE_URL": database.url})


@pytest.fixture
def probe(row: Row, production: Production) -> str:
    """The name of the application with views that only tests need."""
    server = SERVERS[row.options["database"]]
    text = PROBE.format(package=production.package, connection=server.connection, sleep=server.sleep.format(30))
    (production.folder / "probe.py").write_text(text)
    return "probe:app"


def test_every_database_is_proved() -> None:
    """A value has a server here, or needs none."""
    assert {*OPTIONS["database"]} == SERVERS.keys() | EMBEDDED


@each(STORED)
def test_settings_are_demanded(production: Production) -> None:
    """Without them there is no start, and all of them are named."""
    required = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL")
    result = production.flask("db", "upgrade", **dict.fromkeys(required, ""))
    assert result.returncode != 0
    assert all(name in result.stderr for name in required), result.stderr
    assert "Traceback" not in result.stderr


@each(SERVED)
def test_outlives_a_restart_of_its_database(production: Production, server: DatabaseServer) -> None:
    """Under load: 503 at once while the server is gone, and all is well as soon as it is back."""
    production.prepare()
    with production.serving() as site:
        # One product is read each time; lists may be kept.
        product = f"{site}/api/v1/products/1"
        with load(product) as heard:

            def hear(status: int, since: float = 0) -> None:
                wait_until(lambda: sum(one.status == status and one.began > since for one in heard) > 50)

            hear(200)
            assert json.loads(fetch(product).text)["id"] == 1
            assert fetch(f"{site}/health/ready").status == 200

            with server.away():
                hear(503)
                broken = fetch(product)
                assert broken.status == 503
                assert int(broken.headers["Retry-After"]) > 0
                assert broken.headers.get_content_type() == "application/problem+json"
                assert not re.search(f"{server.port}|{server.owner}|127[.]0|Traceback", broken.text), broken.text
                ready = fetch(f"{site}/health/ready", within=PROMPT)
                assert ready.status == 503
                assert [
                    name for name, check in json.loads(ready.text)["checks"].items() if check["status"] != "ok"
                ] == ["database"]
                assert not re.search(f"{server.port}|{server.owner}|127[.]0", ready.text), ready.text
                assert fetch(f"{site}/health/live").status == 200

            back = time.monotonic()
            hear(200, since=back)
            assert fetch(f"{site}/health/ready").status == 200

        assert {one.status for one in heard} == {200, 503}
        assert {one.status for one in heard if one.began > back} == {200}
        assert max(one.took for one in heard) < PROMPT

        with server.away():
            pass  # Nobody asks, so nobody notices.
        assert {fetch(product).status for _ in range(20)} == {200}


@each(SERVED)
def test_forked_processes_share_no_connection(production: Production, probe: str) -> None:
    """What the parent has opened before it forks stays the parent's."""
    with production.serving(probe) as site, ThreadPoolExecutor(8) as clients:

        def ask(number: int) -> dict[str, int]:
            answer = fetch(f"{site}/echo/{number}", within=PROMPT)
            assert answer.status == 200, answer
            told: dict[str, int] = json.loads(answer.text)
            return told

        told: list[dict[str, int]] = []

        def both_answered() -> bool:
            told.extend(clients.map(ask, range(100)))
            return len({one["process"] for one in told}) == 2

        wait_until(both_answered)

    assert [one["number"] for one in told] == [*range(100)] * (len(told) // 100)
    users = {(one["process"], one["connection"]) for one in told}
    connections = [connection for _, connection in users]
    assert len({*connections}) == len(connections), "two processes use one connection"
    assert not {one["parent"] for one in told} & {*connections}


@each(SERVED)
def test_a_slow_statement_is_ended(production: Production, probe: str) -> None:
    """It is answered with 503, and its connection is of use again."""
    with production.serving(probe, DATABASE_STATEMENT_TIMEOUT="0.5") as site:
        with ThreadPoolExecutor(8) as clients:
            answers = clients.map(lambda _: fetch(f"{site}/slow", within=PROMPT), range(8))
            assert {answer.status for answer in answers} == {503}
        assert fetch(f"{site}/echo/1", within=PROMPT).status == 200


@each(STORED)
def test_migrations_take_turns(row: Row, production: Production, database: Database) -> None:
    """Three start at once, and take longer than a statement of a request may; then all is there, once."""
    versions = production.folder / "migrations" / "versions"
    newest = max(path.name for path in versions.glob("*.py")).partition("_")[0]
    slow = SLOW_MIGRATION.format(newest=newest, statement=SLOW[row.options["database"]])
    (versions / "slow.py").write_text(slow)
    with ThreadPoolExecutor(3) as starters:
        results = starters.map(lambda _: production.flask("db", "upgrade", DATABASE_STATEMENT_TIMEOUT="0.5"), range(3))
        for result in results:
            assert result.returncode == 0, result.stdout + result.stderr
    assert database.ask("SELECT version_num FROM alembic_version") == "slow"

    for words, said in {("db", "check"): "No new upgrade operations", ("db", "downgrade", "base"): ""}.items():
        result = production.flask(*words)
        assert result.returncode == 0, result.stdout + result.stderr
        assert said in result.stdout
    assert database.ask("SELECT count(*) FROM alembic_version") == "0"


@each(SERVED)
def test_a_migration_does_not_wait_for_ever(production: Production, server: DatabaseServer, database: Database) -> None:
    """It gives up on a table that another transaction uses, and leaves it as it was."""
    production.prepare()
    began = time.monotonic()
    with server.transaction(database.url.rpartition("/")[2], "SELECT count(*) FROM product"):
        refused(production.flask("db", "downgrade", "base"), "(?i)lock", server.password)
    assert time.monotonic() - began < 2 * PROMPT
    # Without transactions for tables the migrations that it undid before are undone: they can be done again.
    if server.scheme == "mysql":
        production.succeed("db", "upgrade")
    production.succeed("db", "check")


ADDRESSES = {
    "no address": ("{scheme}//owner:{password}@127.0.0.1/name", "DATABASE_URL: "),
    "no port": ("{scheme}://owner:{password}@127.0.0.1:port/name", "DATABASE_URL: "),
    "another database": ("oracle://owner:{password}@127.0.0.1:{port}/name", "DATABASE_URL: expected {scheme}"),
    "unknown option": ("{url}?nonsense={password}", "DATABASE_URL|nonsense"),
    "nobody listens": ("{scheme}://owner:{password}@127.0.0.1:{free_port}/name", "refused"),
    "wrong password": ("{scheme}://owner:wrong-{password}@127.0.0.1:{port}/name", "password"),
    "unknown name": ("{scheme}://owner:{password}@127.0.0.1:{port}/nowhere", "nowhere"),
}


@each(SERVED)
@pytest.mark.parametrize(("address", "reason"), ADDRESSES.values(), ids=ADDRESSES)
def test_a_wrong_address_is_told(
    production: Production, server: DatabaseServer, database: Database, address: str, reason: str
) -> None:
    """In one line, which does not tell the password."""
    known = {"scheme": server.scheme, "password": server.password, "port": server.port}
    url = address.format(**known, url=database.url, free_port=free_port())
    refused(production.flask("db", "upgrade", DATABASE_URL=url), reason.format(**known), server.password)


@each(STORED)
def test_a_database_of_another_version_is_told(production: Production, database: Database) -> None:
    """Behind the migrations, and ahead of them."""
    refused(production.flask("db", "check"), "not up to date")
    refused(production.flask("seed"), "category")
    assert production.flask("db", "upgrade").returncode == 0
    database.ask("UPDATE alembic_version SET version_num = 'f00'")
    refused(production.flask("db", "upgrade"), "f00")


@each([row_of("sqlite")])
def test_writers_of_a_file_take_turns(production: Production) -> None:
    """Eight write at once, in two processes, and each of them succeeds."""
    production.prepare()
    with production.serving() as site:
        products = f"{site}/api/v1/products"
        category_id = json.loads(fetch(f"{site}/api/v1/categories").text)[0]["id"]

        def product(sku: str) -> dict[str, object]:
            return {"sku": sku, "name": "Kite", "price_cents": 1250, "category_id": category_id}

        shared = f"{site}{fetch(products, method='POST', body=product('SHARED')).headers['Location']}"

        def write(number: int) -> set[int]:
            statuses = set()
            for turn in range(10):
                statuses.add(fetch(products, method="POST", body=product(f"KITE-{number}-{turn}")).status)
                seen: dict[str, Any] = {"If-Match": fetch(shared).headers["ETag"]}
                statuses.add(fetch(shared, method="PUT", body=product("SHARED"), **seen).status)
            return statuses

        with ThreadPoolExecutor(8) as writers:
            statuses = set().union(*writers.map(write, range(8)))
        # 412: another one was faster.
        assert {201, 200} <= statuses <= {201, 200, 412}
