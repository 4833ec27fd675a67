"""Migrations: numbered CQL files in `migrations/`, each of whose statements runs once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from cassandra import AlreadyExists

from ..migration_lock import TTL_SECONDS, hold_lock
from .client import Client, is_applied, open_session

FOLDER = Path(__file__).parents[2] / "migrations"

TABLES = {
    "schema_lock": "CREATE TABLE schema_lock (name text PRIMARY KEY, owner text)",
    "schema_migration": "CREATE TABLE schema_migration (name text, statement int, "
    "applied_at timestamp, PRIMARY KEY (name, statement))",
}

SELECT_APPLIED = "SELECT statement FROM schema_migration WHERE name = ?"
INSERT_APPLIED = "INSERT INTO schema_migration (name, statement, applied_at) VALUES (?, ?, ?)"
SELECT_LOCK = "SELECT owner FROM schema_lock WHERE name = 'migrations'"
INSERT_LOCK = "INSERT INTO schema_lock (name, owner) VALUES ('migrations', ?)"
UPDATE_LOCK = "UPDATE schema_lock SET owner = ? WHERE name = 'migrations'"
DELETE_LOCK = "DELETE FROM schema_lock WHERE name = 'migrations'"


def find_migrations(folder: Path = FOLDER) -> list[Path]:
    """Return the files in their order."""
    return sorted(folder.glob("[0-9]*.cql"))


def split_statements(text: str) -> list[str]:
    """Return the statements of a file: each ends with a semicolon at the end of a line."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def pending(client: Client, path: Path) -> list[tuple[int, str]]:
    """Return the statements of a file that have not run, with their numbers."""
    applied = {row.statement for row in client.execute(SELECT_APPLIED, path.name)}
    statements = enumerate(split_statements(path.read_text(encoding="utf-8")), start=1)
    return [(number, text) for number, text in statements if number not in applied]


def upgrade(client: Client, replication: dict[str, Any], log: Callable[[str], None]) -> None:
    """Run all statements that have not run; only one process at a time does.

    A failed migration continues with the statement that failed, since changes of tables cannot be
    rolled back.
    """
    create_missing(client, replication)
    with migration_lock(client):
        for path in find_migrations():
            statements = pending(client, path)
            for number, text in statements:
                client.execute_directly(text)
                client.execute(INSERT_APPLIED, path.name, number, datetime.now(UTC))
            if statements:
                log(f"{path.name}: {len(statements)} statements")


def create_missing(client: Client, replication: dict[str, Any]) -> None:
    """Create the keyspace and the tables of migrations, unless they exist."""
    session = open_session(client.options)
    try:
        keyspaces = session.cluster.metadata.keyspaces
        if client.keyspace not in keyspaces:
            options = str({"class": "NetworkTopologyStrategy", **replication})
            create(session, f"CREATE KEYSPACE {client.keyspace} WITH replication = {options}")
        session.set_keyspace(client.keyspace)
        for name, statement in TABLES.items():
            if name not in keyspaces[client.keyspace].tables:
                create(session, statement)
    finally:
        session.cluster.shutdown()


def create(session: Any, statement: str) -> None:
    """Create a keyspace or a table, unless another process has been faster."""
    try:
        session.execute(statement, timeout=None)
    except AlreadyExists:
        return


def migration_lock(client: Client) -> AbstractContextManager[None]:
    """Allow one migration at a time; raise `TimeoutError` if another one runs for too long."""
    owner = uuid4().hex
    return hold_lock(
        partial(acquire, client, owner),
        partial(renew, client, owner),
        partial(release, client, owner),
    )


def acquire(client: Client, owner: str) -> bool:
    """Insert the row of the lock, unless it exists."""
    if client.execute(SELECT_LOCK):
        return False
    query, parameters = client.when("IF NOT EXISTS", (), (INSERT_LOCK, (owner,)))
    return is_applied(client.execute(f"{query} USING TTL {TTL_SECONDS}", *parameters))


def renew(client: Client, owner: str) -> None:
    """Extend the time of the lock, unless another process has taken it over."""
    query, parameters = client.when("IF owner = ?", [owner], (UPDATE_LOCK, (owner,)))
    client.execute(query.replace(" SET", f" USING TTL {TTL_SECONDS} SET", 1), *parameters)


def release(client: Client, owner: str) -> None:
    """Delete the row of the lock, unless another process has taken it over."""
    client.execute_if(client.when("IF owner = ?", [owner], (DELETE_LOCK, ())))
