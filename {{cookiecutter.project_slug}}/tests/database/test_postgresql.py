from unittest.mock import Mock

from msgspec.structs import asdict
from sqlalchemy import Column, Connection, MetaData, QueuePool, Table, make_url

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.database import postgresql


def test_the_settings_reach_the_pool() -> None:
    settings = load_settings({"FLASK_TESTING": "1", "DATABASE_POOL_SIZE": "7"})
    engine = postgresql.make_engine(make_url("postgresql://localhost/name"), asdict(settings))
    assert engine.driver == "psycopg"
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 7


def test_an_upsert_replaces_and_computes() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = postgresql.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    sql = str(statement.compile(dialect=make_url("postgresql://").get_dialect()()))
    assert "ON CONFLICT (sku) DO UPDATE SET name = excluded.name" in sql


def test_a_migration_waits_for_its_turn_and_not_long_for_tables() -> None:
    connection = Mock(Connection)
    with postgresql.migrating(connection):
        sent = [str(call.args[0]) for call in connection.execute.call_args_list]
    assert any("pg_advisory_xact_lock" in statement for statement in sent)
    assert sent.index("SET LOCAL lock_timeout = '60s'") < sent.index(
        "SET LOCAL lock_timeout = '5s'"
    )
