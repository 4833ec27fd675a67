import socket
import time
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from sqlalchemy import (
    Column,
    Enum,
    Float,
    LargeBinary,
    MetaData,
    QueuePool,
    Table,
    Text,
    make_url,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.database import (
    autogenerate,
    polling,
    postgresql,
)
from {{ cookiecutter.package_name }}.core.database.timeouts import (
    Timeouts,
    create_pooled_engine,
)


def test_pool_gets_settings() -> None:
    settings = load_settings({"FLASK_TESTING": "1", "DATABASE_POOL_SIZE": "7"})
    engine = postgresql.create_engine(make_url("postgresql://localhost/name"), settings)
    assert engine.driver == "psycopg"
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 7


def test_upsert_replaces_and_computes_columns() -> None:
    table = Table("pen", MetaData(), Column("sku"), Column("name"), Column("version"))
    statement = postgresql.upsert(table, "sku", ["name"], {"version": table.c.version + 1})
    sql = str(statement.compile(dialect=make_url("postgresql://").get_dialect()()))
    assert "ON CONFLICT (sku) DO UPDATE SET name = excluded.name" in sql


def test_rows_are_sent_as_one_document() -> None:
    table = Table("pen", MetaData(), Column("sku", Text), Column("name", Text))
    statement = postgresql.upsert(table, "sku", ["name"], {})
    session = Mock()
    rows = [{"sku": "A", "name": name} for name in ("old", None)]
    postgresql.execute_upsert(session, statement, "sku", rows)
    (executed,) = session.execute.call_args.args
    compiled = executed.compile(dialect=make_url("postgresql://").get_dialect()())
    assert "FROM json_to_recordset" in str(compiled)
    assert compiled.params == {"param_1": '[{"sku":"A","name":null}]'}


@pytest.mark.parametrize("type_", [Enum("name"), Float(), LargeBinary()])
def test_rows_with_other_types_are_sent_as_statements(type_: Any) -> None:
    table = Table("pen", MetaData(), Column("sku", Text), Column("color", type_))
    statement = postgresql.upsert(table, "sku", ["color"], {})
    session = Mock()
    rows = [{"sku": "A", "color": 1}, {"sku": "A", "color": 2}]
    postgresql.execute_upsert(session, statement, "sku", rows)
    session.execute.assert_called_once_with(statement, rows[1:])


def test_migration_polls_for_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "INTERVAL", 0)
    monkeypatch.setattr(postgresql, "event", Mock())
    connection = MagicMock()
    holder = connection.engine.connect.return_value.__enter__.return_value
    holder.scalar.side_effect = [False, True]
    with postgresql.migration_lock(connection):
        assert (holder.scalar.call_count, holder.rollback.call_count) == (2, 1)


def test_timeouts_are_set_in_transactions_only() -> None:
    connection = Mock(get_execution_options=Mock(return_value={"isolation_level": "AUTOCOMMIT"}))
    postgresql.set_local(connection, "lock_timeout", 5000)
    assert not connection.exec_driver_sql.called
    connection.get_execution_options.return_value = {}
    postgresql.set_local(connection, "lock_timeout", 5000)
    connection.exec_driver_sql.assert_called_once_with("SET LOCAL lock_timeout = 5000")


def test_transaction_pooler_gets_no_session_state(monkeypatch: pytest.MonkeyPatch) -> None:
    create, events = Mock(wraps=create_pooled_engine), Mock()
    monkeypatch.setattr(postgresql, "create_pooled_engine", create)
    monkeypatch.setattr(postgresql, "event", events)
    environ = {"FLASK_TESTING": "1", "DATABASE_URL": "postgres://host/name"}
    load_settings(environ)
    assert "statement_timeout=4000" in create.call_args.kwargs["connect_args"]["options"]
    assert events.listen.call_args.args[1] != "begin"
    load_settings(environ | {"DATABASE_POOLER": "transaction"})
    options = create.call_args.kwargs["connect_args"]
    assert (options["prepare_threshold"], "options" in options) == (None, False)
    assert events.listen.call_args.args[1] == "begin"


@pytest.mark.parametrize(
    "option",
    ["prepare_threshold=0", "sslmode=always", "sslmode=verify-full&sslrootcert=/missing.pem"],
)
def test_invalid_option_of_url_is_reported(option: str) -> None:
    environ = {"FLASK_TESTING": "1", "DATABASE_URL": f"postgresql://host/name?{option}"}
    with pytest.raises(SettingsError, match="DATABASE_URL: expected postgresql://"):
        load_settings(environ)


@pytest.mark.parametrize("name", ["host", "host?sslmode=disable"])
def test_ca_file_verifies_host_name(name: str) -> None:
    url = postgresql.verify_tls(make_url(f"postgresql://{name}"), "/ca.pem")
    assert (url.query["sslmode"], url.query["sslrootcert"]) == ("verify-full", "/ca.pem")
    url = postgresql.verify_tls(make_url("postgresql://host?sslmode=verify-full"), "")
    assert url.query["sslrootcert"] == postgresql.SYSTEM_CA_FILE


def test_type_of_postgresql_is_rendered_for_each_database() -> None:
    sqlite = MigrationContext.configure(dialect_name="sqlite")
    context = AutogenContext(sqlite, opts={"sqlalchemy_module_prefix": "sa."})
    rendered = autogenerate.render_item("type", JSONB(), context)
    assert rendered == "postgresql.JSONB(astext_type=sa.Text())"


@pytest.mark.parametrize("remaining", [0, 0.3])
def test_connecting_has_remaining_time(remaining: float, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"FLASK_TESTING": "1"})
    monkeypatch.setattr(Timeouts, "remaining_to_connect", lambda _: remaining)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://127.0.0.1:{server.getsockname()[1]}/name?sslmode=disable"
        engine = postgresql.create_engine(make_url(url), settings)
        began = time.monotonic()
        with pytest.raises(OperationalError, match="did not respond in time"):
            engine.connect()
        # DATABASE_CONNECT_TIMEOUT is 3 s.
        assert remaining <= time.monotonic() - began < 2.5
