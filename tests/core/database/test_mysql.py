from ssl import CERT_REQUIRED
from typing import Any
from unittest.mock import MagicMock, Mock

import pymysql  # type: ignore[import-untyped]
import pytest
from flask import Flask, g
from sqlalchemy import Column, Connection, MetaData, QueuePool, Table, make_url

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.database import mysql
from {{ cookiecutter.package_name }}.core.database.mysql import BoundedConnection


@pytest.mark.parametrize(
    ("version", "limit"),
    [
        ("10.11.19-MariaDB", "SET SESSION max_statement_time = 7.0"),
        ("8.4.0", "SET SESSION max_execution_time = 7000"),
    ],
)
def test_server_gets_settings(version: str, limit: str) -> None:
    environ = {"FLASK_TESTING": "1", "DATABASE_POOL_SIZE": "7", "DATABASE_STATEMENT_TIMEOUT": "7"}
    engine = mysql.create_engine(make_url("mysql://localhost/name"), load_settings(environ))
    assert engine.driver == "pymysql"
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 7
    connection = MagicMock(get_server_info=lambda: version)
    mysql.limit_statements(connection, 7.0)
    connection.cursor.return_value.__enter__.return_value.execute.assert_called_once_with(limit)


@pytest.mark.parametrize("option", ["ssl_mode=REQUIRED", "ssl_ca=/missing.pem", "nonsense=1"])
def test_invalid_option_of_url_is_reported(option: str) -> None:
    environ = {"FLASK_TESTING": "1", "DATABASE_URL": f"mysql://host/name?{option}"}
    with pytest.raises(SettingsError, match="DATABASE_URL: expected mysql://"):
        load_settings(environ)


def test_tls_verifies_host_name() -> None:
    url, options = mysql.verify_tls(make_url("mysql://host/a?ssl_mode=VERIFY_IDENTITY"), "")
    assert "ssl_mode" not in url.query
    assert (options["ssl"].verify_mode, options["ssl"].check_hostname) == (CERT_REQUIRED, True)


def test_upsert_replaces_and_computes_columns() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = mysql.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    sql = str(statement.compile(dialect=make_url("mysql+pymysql://").get_dialect()()))
    assert "ON DUPLICATE KEY UPDATE name = VALUES(name)" in sql


def test_migration_acquires_and_releases_lock() -> None:
    connection = Mock(Connection, scalar=Mock(return_value=1))
    with mysql.migration_lock(connection):
        assert "GET_LOCK" in str(connection.scalar.call_args.args[0])
    sent = [str(call.args[0]) for call in connection.execute.call_args_list]
    assert sent[0] == "SET SESSION lock_wait_timeout = 5"
    assert "RELEASE_LOCK" in sent[1]


def test_command_has_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymysql.connections.Connection, "_execute_command", Mock())
    timeouts = Mock(remaining=lambda: 1.5, remaining_to_connect=lambda: 0.5)
    monkeypatch.setattr(BoundedConnection, "timeouts", timeouts, raising=False)
    connection: Any = BoundedConnection(defer_connect=True, connect_timeout=3)
    assert vars(connection)["connect_timeout"] == vars(connection)["_read_timeout"] == 0.5
    connection._execute_command()
    assert vars(connection)["_read_timeout"] == vars(connection)["_write_timeout"] == 1.5


def test_connecting_after_timeout_fails_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = Mock(remaining_to_connect=lambda: 0)
    monkeypatch.setattr(BoundedConnection, "timeouts", timeouts, raising=False)
    with pytest.raises(pymysql.OperationalError, match="before"):
        BoundedConnection()


def test_only_timeout_marks_server_as_unresponsive(app: Flask) -> None:
    with app.test_request_context():
        error = pymysql.OperationalError()
        mysql.detect_timeout(Mock(original_exception=error))
        assert "database_unresponsive" not in g
        error.__context__ = TimeoutError()
        mysql.detect_timeout(Mock(original_exception=error))
        assert "database_unresponsive" in g
