"""Migrations, written and applied on the databases of development and production."""

# ruff: noqa: F811 - fixtures are imported and named as arguments

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import Run, link_venv
from tests.deployed_project import DeployedProject, assert_fails_with
from tests.matrix import Combination, parametrize_combinations
from tests.services import Database, DatabaseServer, PostgreSQL
from tests.test_stacks import (  # noqa: F401
    SERVED,
    STORED,
    combination_with,
    database,
    deployed,
    server,
    servers,
)

# Alembic commands.
UPGRADE = ("upgrade", "head")
CHECK = ("check",)
WRITE = ("revision", "--autogenerate", "--message")

# One column per common type, with defaults that databases rewrite.
MODEL = """
import enum
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Enum, Numeric, String, false, func, text, true
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from .core.database import Base


class Status(enum.Enum):
    DRAFT = "draft"
    DONE = "done"


class Words(TypeDecorator[str]):
    impl = String(40)
    cache_ok = True


class Code(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def __init__(self) -> None:
        super().__init__()

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(String(8))

    def __repr__(self) -> str:
        return "Code()"


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    day: Mapped[date] = mapped_column(server_default="2026-11-28")
    span: Mapped[timedelta | None]
    status: Mapped[Status] = mapped_column(server_default="DRAFT")
    other: Mapped[Status] = mapped_column(Enum(Status, name="other_status"), server_default="DONE")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    list: Mapped[list[int]] = mapped_column(JSON, server_default=text("'[1, 2]'"))
    variant: Mapped[dict[str, Any]] = mapped_column(
        JSON().with_variant(postgresql.JSONB(), "postgresql"), server_default="{}"
    )
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default="0")
    weight: Mapped[Decimal] = mapped_column(Numeric(10, 2), server_default=text("1.5"))
    count: Mapped[int] = mapped_column(server_default="0")
    rate: Mapped[float] = mapped_column(server_default="0.5")
    key: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    is_open: Mapped[bool] = mapped_column(server_default=true())
    is_shut: Mapped[bool] = mapped_column(server_default=false())
    body: Mapped[str]
    title: Mapped[str] = mapped_column(String(80), server_default="it's 100% \\"new\\"")
    quoted: Mapped[str] = mapped_column(String(80), server_default="'n'")
    empty: Mapped[str] = mapped_column(String(80), server_default="")
    words: Mapped[str] = mapped_column(Words, server_default="a,b")
    code: Mapped[str] = mapped_column(Code, server_default="x")
"""

# Runs Alembic commands in one process, each on a database; `use` inserts and reads a record.
DRIVER = """
import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal

from alembic.config import CommandLine
from sqlalchemy import select

from {package} import create_app, notes
from {package}.config import load_settings
from {package}.core import database


def use():
    session = database.get_session()
    session.add(notes.Note(due_at=datetime(2026, 1, 2, tzinfo=UTC), body="x" * 9999, price=Decimal("2.50")))
    session.commit()
    note = session.scalars(select(notes.Note)).one()
    assert note.due_at == datetime(2026, 1, 2, tzinfo=UTC), note.due_at
    assert (note.status, note.other) == (notes.Status.DRAFT, notes.Status.DONE)
    assert (note.data, note.list, note.variant) == ({{}}, [1, 2], {{}})
    assert (note.price, note.weight) == (Decimal("2.50"), Decimal("1.50"))
    assert (note.is_open, note.is_shut) == (True, False)
    assert (note.title, note.quoted, note.empty) == ("it's 100% \\"new\\"", "'n'", "")
    session.delete(note)
    session.commit()


for url, *words in json.loads(sys.argv[1]):
    app = create_app(load_settings({{**os.environ, "DATABASE_URL": url}}))
    with app.app_context():
        if words == ["use"]:
            use()
        else:
            CommandLine().main(words)
"""

# Changes of the model by column, all of which autogenerate detects.
CHANGES = {
    "status": ('    DONE = "done"\n', '    DONE = "done"\n    ARCHIVED = "archived"\n'),
    "made_at": ("server_default=func.now()", "server_default=text(\"'2026-11-28 00:00:00'\")"),
    "list": ("'[1, 2]'", "'[1]'"),
    "variant": ('"postgresql"), server_default="{}"', '"postgresql"), server_default="[]"'),
    "price": ('Numeric(10, 2), server_default="0"', 'Numeric(10, 2), server_default="1"'),
    "count": ('mapped_column(server_default="0")', "mapped_column()"),
    "is_open": ("server_default=true()", "server_default=false()"),
    "title": ("it's 100%", "it's 99%"),
    "empty": ('server_default=""', 'server_default=" "'),
    "body": ("body: Mapped[str]\n", "body: Mapped[str] = mapped_column(String(9999))\n"),
}


class Notes:
    """A model in a project, and its databases: an SQLite file for development, and production."""

    def __init__(self, deployed: DeployedProject) -> None:
        """Add the module and its import."""
        package = deployed.folder / "src" / deployed.package
        self.file, self.production = package / "notes.py", deployed
        self.urls = {
            "development": f"sqlite:///{deployed.folder}/development.sqlite3",
            "production": deployed.variables["DATABASE_URL"],
        }
        self.file.write_text(MODEL, encoding="utf-8")
        with (package / "__init__.py").open("a", encoding="utf-8") as text:
            text.write("\nfrom . import notes as notes\n")

    def change(self) -> None:
        """Change the model."""
        text = self.file.read_text(encoding="utf-8")
        for before, after in CHANGES.values():
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        self.file.write_text(text, encoding="utf-8")

    def run(self, *commands: tuple[str, ...]) -> CompletedProcess[str]:
        """Run commands, each with the name of its database."""
        code = DRIVER.format(package=self.production.package)
        arguments = json.dumps([[self.urls[name], *words] for name, *words in commands])
        python = self.production.programs / "python"
        return self.production.run(
            python, "-c", code, arguments, cwd=self.production.folder, **self.production.variables
        )

    def succeed(self, *commands: tuple[str, ...]) -> None:
        """Run commands that must succeed."""
        result = self.run(*commands)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def notes(deployed: DeployedProject) -> Notes:
    """Add a model with columns of all common types."""
    return Notes(deployed)


def repeat(*names: str) -> Iterator[tuple[str, ...]]:
    """Upgrade, downgrade and upgrade each database; compare it with the models after each upgrade."""
    for name in names:
        yield from ((name, *words) for words in (UPGRADE, CHECK, ("downgrade", "-1"), UPGRADE, CHECK))


@parametrize_combinations(STORED)
def test_development_migrations_apply_to_server(notes: Notes) -> None:
    """Migrations written with SQLite run on the server and leave no difference to the models."""
    check_all_types(notes, "development")


@parametrize_combinations(SERVED)
def test_server_migrations_apply_to_sqlite(notes: Notes) -> None:
    """Migrations written with the server run on SQLite and leave no difference to the models."""
    check_all_types(notes, "production")


def check_all_types(notes: Notes, here: str) -> None:
    """Write migrations with one database and apply them to both; autogenerate must detect every change."""
    uses = ((name, "use") for name in notes.urls)
    notes.succeed((here, *UPGRADE), (here, *WRITE, "add notes"), *repeat(*notes.urls), *uses)
    notes.change()
    result = notes.run((here, *CHECK))
    assert result.returncode
    assert {name for name in CHANGES if f"'{name}'" in result.stdout} == {*CHANGES}, result.stdout
    notes.succeed((here, *WRITE, "change notes"), *repeat(*notes.urls), (here, "downgrade", "base"))


def add_migration(deployed: DeployedProject, name: str, code: str) -> None:
    """Add a migration after the newest one."""
    head = deployed.migrate("history").split(" (head)")[0].rpartition(" ")[2]
    text = f'"""{name}."""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{name}"\n'
    path = deployed.folder / "migrations" / "versions" / f"{name}.py"
    path.write_text(f'{text}down_revision = "{head}"\n\n\n{code}', encoding="utf-8")


def blocks_of(deployed: DeployedProject) -> list[str]:
    """Return the example migrations of docs/migrations.md."""
    page = (deployed.folder / "docs" / "migrations.md").read_text(encoding="utf-8")
    return re.findall(r"(?ms)^```python\n(.*?)^```", page)


@parametrize_combinations(STORED)
def test_documented_migrations_can_be_reversed(notes: Notes, deployed: DeployedProject) -> None:
    """The examples of docs/migrations.md can be applied, undone and applied again on both databases."""
    notes.succeed(("development", *UPGRADE), ("development", *WRITE, "add notes"))
    for number, block in enumerate(blocks_of(deployed)):
        add_migration(deployed, f"page{number}", block)
    commands = [UPGRADE, ("downgrade", "base"), UPGRADE]
    notes.succeed(*((name, *command) for name in notes.urls for command in commands))
    revisions = {path.stem for path in (deployed.folder / "migrations" / "versions").glob("page*.py")}
    assert len(revisions) >= 2


CONCURRENTLY = next(combination for combination in SERVED if combination.options["database"] == "postgresql")


SLOW = """def upgrade() -> None:
    op.execute("SELECT pg_sleep(4)")


def downgrade() -> None:
    pass
"""


@parametrize_combinations([CONCURRENTLY])
def test_concurrent_index_build_waits(deployed: DeployedProject, server: DatabaseServer, database: Database) -> None:
    """The build waits for an old transaction without the lock timeout, and another migration waits for the build."""
    deployed.migrate_and_seed()
    (block,) = (text for text in blocks_of(deployed) if "concurrently" in text)
    block = (
        block.replace("ix_note_due_at", "ix_concurrent").replace('"note"', '"product"').replace("due_at", "price_cents")
    )
    # The second process waits for the lock before the build starts.
    add_migration(deployed, "slow", SLOW)
    add_migration(deployed, "concurrent", block)
    # An interrupted build leaves an invalid index.
    database.query("CREATE INDEX ix_concurrent ON product (stock)")
    database.query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_concurrent'::regclass")
    name = database.url.rpartition("/")[2]
    with ThreadPoolExecutor(2) as starters:
        with server.transaction(name, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM category"):
            results = [starters.submit(deployed.alembic, *UPGRADE) for _ in range(2)]
            time.sleep(15)
            assert not any(result.done() for result in results)
        for result in results:
            assert result.result().returncode == 0, result.result().stderr
    index = "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = 'ix_concurrent'::regclass"
    valid, _, definition = database.query(index).partition("|")
    assert valid == "t"
    assert "(price_cents)" in definition
    assert database.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
    deployed.migrate("downgrade", "-1")
    assert database.query("SELECT count(*) FROM pg_class WHERE relname = 'ix_concurrent'") == "0"


FAILING = """def upgrade() -> None:
    op.create_table("half", sa.Column("id", sa.Integer()))
    op.execute("SELECT nonsense")


def downgrade() -> None:
    op.drop_table("half")
"""


@parametrize_combinations([combination_with("postgresql"), combination_with("sqlite")])
def test_failed_migration_is_rolled_back(deployed: DeployedProject, database: Database) -> None:
    """A failed migration leaves no changes, and earlier migrations remain applied."""
    add_migration(deployed, "failing", FAILING)
    assert_fails_with(deployed.alembic(*UPGRADE), "nonsense")
    revisions = "SELECT version_num FROM alembic_version"
    assert database.query(revisions).startswith("0")
    database.query("CREATE TABLE half (id INTEGER)")


@parametrize_combinations(STORED)
def test_printed_sql_creates_the_schema(
    combination: Combination, deployed: DeployedProject, database: Database
) -> None:
    """The database's own client runs the output of `alembic upgrade head --sql`."""
    sql = deployed.migrate(*UPGRADE, "--sql")
    if combination.options["database"] == "sqlite":
        with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(sql)
    else:
        database.query(sql)
    assert "No new upgrade operations" in deployed.migrate("check")


@parametrize_combinations(STORED)
def test_multiple_heads_are_explained(deployed: DeployedProject, database: Database) -> None:
    """The error message contains the command that merges the heads."""
    head = deployed.migrate("history").split(" (head)")[0].rpartition(" ")[2]
    versions = deployed.folder / "migrations" / "versions"
    for name in ("one", "two"):
        functions = "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass\n"
        (versions / f"{name}.py").write_text(f'revision = "{name}"\ndown_revision = "{head}"\n\n\n{functions}')
    assert_fails_with(deployed.alembic(*UPGRADE), "one and two .*`alembic merge heads")
    deployed.migrate("upgrade", "one")
    deployed.migrate("merge", "heads", "-m", "merge")
    deployed.migrate()
    assert "No new upgrade operations" in deployed.migrate("check")
    deployed.migrate("downgrade", head)
    assert database.query("SELECT version_num FROM alembic_version") == head


@parametrize_combinations(STORED)
def test_unknown_revision_is_explained(combination: Combination, deployed: DeployedProject, database: Database) -> None:
    """After a switch of branches, every command names what to delete, without the password."""
    deployed.migrate()
    database.query("UPDATE alembic_version SET version_num = 'f00'")
    name = re.escape(database.url.rpartition("/")[2])
    remedy = rf"delete \S*{name}[*]" if combination.options["database"] == "sqlite" else f"drop and create {name} "
    for words in (UPGRADE, ("current",), (*WRITE, "add notes")):
        assert_fails_with(deployed.alembic(*words), f"revision f00.*{remedy}", PostgreSQL.password)


@parametrize_combinations([combination_with("sqlite")])
def test_make_migration_requires_message(deployed: DeployedProject, venv_bin: Path, run: Run) -> None:
    """`make migration` requires a message, which may contain shell metacharacters, and reads `.env`."""
    folder = deployed.folder
    variables = {**deployed.variables, **link_venv(folder, venv_bin), "m": "of the environment"}
    (folder / ".env").write_text(f"DATABASE_URL={variables.pop('DATABASE_URL')}\n")
    versions = folder / "migrations" / "versions"
    before = {*versions.iterdir()}
    result = run("make", "--silent", "migration", cwd=folder, **variables)
    assert result.returncode != 0
    assert 'name the migration: make migration m="add color"\n' in result.stdout + result.stderr
    assert {*versions.iterdir()} == before
    assert not (folder.parent / "production.sqlite3").exists()
    for message in ("add notes", "add notes", 'it\'s `new` "home"'):
        result = run("make", "--silent", "migration", f"m={message}", cwd=folder, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        run("make", "--silent", "migrate", cwd=folder, **variables)
    written = sorted({*versions.glob("*.py")} - before)
    assert [re.sub(r"^[\d_]+", "", path.stem) for path in written] == ["add_notes", "add_notes", "it_s_new_home"]
    assert 'it\'s `new` "home"' in written[-1].read_text(encoding="utf-8")
