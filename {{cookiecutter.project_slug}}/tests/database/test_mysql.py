from unittest.mock import MagicMock, Mock

import pytest
from msgspec.structs import asdict
from sqlalchemy import Column, Connection, MetaData, QueuePool, Table, make_url

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.database import mysql


@pytest.mark.parametrize(
    ("version", "limit"),
    [
        ("10.11.19-MariaDB", "SET SESSION max_statement_time = 7.0"),
        ("8.4.0", "SET SESSION max_execution_time = 7000"),
    ],
)
def test_the_settings_reach_the_server(version: str, limit: str) -> None:
    environ = {"FLASK_TESTING": "1", "DATABASE_POOL_SIZE": "7", "DATABASE_STATEMENT_TIMEOUT": "7"}
    engine = mysql.make_engine(make_url("mysql://localhost/name"), asdict(load_settings(environ)))
    assert engine.driver == "pymysql"
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 7
    connection = MagicMock(get_server_info=lambda: version)
    mysql.limit_statements(connection, 7.0)
    connection.cursor.return_value.__enter__.return_value.execute.assert_called_once_with(limit)


def test_an_upsert_replaces_and_computes() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = mysql.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    sql = str(statement.compile(dialect=make_url("mysql+pymysql://").get_dialect()()))
    assert "ON DUPLICATE KEY UPDATE name = VALUES(name)" in sql


def test_a_migration_waits_for_its_turn_and_not_long_for_tables() -> None:
    connection = Mock(Connection, scalar=Mock(return_value=1))
    with mysql.migrating(connection):
        pass
    sent = [str(call.args[0]) for call in connection.execute.call_args_list]
    assert sent == ["SET SESSION lock_wait_timeout = 5"]
    with pytest.raises(TimeoutError), mysql.migrating(Mock(Connection, scalar=lambda _: 0)):
        pass
