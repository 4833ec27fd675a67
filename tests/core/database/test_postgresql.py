import socket
import time
from collections.abc import Generator
from typing import Any
from unittest.mock import MagicMock, Mock

import psycopg
import pytest
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from psycopg.errors import _WaitTimeout
from psycopg.waiting import Ready, Wait
from sqlalchemy import (
    Column,
    Enum,
    Float,
    LargeBinary,
    MetaData,
    QueuePool,
    Table,
    Text,
    func,
    insert,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import column_property, registry
from sqlalchemy.sql.functions import GenericFunction

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.database import (
    autogenerate,
    polling,
    postgresql,
)
from {{ cookiecutter.package_name }}.core.database.postgresql import (
    BoundedConnection,
    RetryingCursor,
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


@pytest.fixture
def connection() -> BoundedConnection:
    """A connection that is closed."""
    connection = BoundedConnection.__new__(BoundedConnection)
    connection.pgconn = Mock(status=psycopg.pq.ConnStatus.BAD)
    connection.timeouts = Mock(remaining=lambda: 0.1)
    return connection


def test_connection_is_closed_after_timeout(
    connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = Mock(side_effect=_WaitTimeout)
    monkeypatch.setattr(psycopg.Connection, "wait", wait)
    with pytest.raises(psycopg.OperationalError, match=r"within 0[.]1 s"):
        connection.wait(Mock())
    assert connection.pgconn.finish.called  # type: ignore[attr-defined]
    with pytest.raises(_WaitTimeout):
        connection.wait(Mock(), timeout=2)
    assert [call.args[-1] for call in wait.call_args_list] == [0.1, 2]


DIALECT = make_url("postgresql://").get_dialect()()
TABLE = Table("pen", MetaData(), Column("sku"))
READS = [
    select(TABLE),
    select(func.count()),
    select(TABLE).where(TABLE.c.sku.in_(["a"])),
    select(TABLE).where(TABLE.c.sku == literal_column("0")),
]


class DropPen(GenericFunction[int]):
    """A function with a class of its own."""

    inherit_cache = True


class Pen:
    """A model."""


registry().map_imperatively(
    Pen,
    Table("model", MetaData(), Column("sku", Text, primary_key=True)),
    properties={"lost": column_property(func.lose())},
)
WRITES = [
    insert(TABLE),
    select(insert(TABLE).returning(TABLE.c.sku).cte()),
    select(func.lose()),
    select(TABLE).where(func.lose() == 1),
    select(text("lose()")),
    text("SELECT lose()").columns(),
    select(literal_column("lose()")),
    select(DropPen()),
    select(Pen),
    select(TABLE).with_for_update(),
    select(TABLE).suffix_with("FOR UPDATE"),
    select(select(TABLE).with_for_update().subquery()),
]


def needs_transaction(
    statement: Any, cursor: Any = None, default: str = "READ COMMITTED", **options: str
) -> bool:
    """Return whether a transaction is required for a statement of SQLAlchemy, or None for text."""
    used = Mock(default_isolation_level=default, get_execution_options=lambda: options)
    compiled = statement is not None and statement.compile(dialect=DIALECT)
    cursor = cursor or Mock()
    postgresql.require_transaction(used, cursor, "", {}, Mock(compiled=compiled))
    required: bool = cursor.connection.needs_transaction
    return required


def test_only_statements_that_may_write_need_a_transaction() -> None:
    assert [needs_transaction(statement) for statement in READS] == [False] * len(READS)
    assert [needs_transaction(statement) for statement in [*WRITES, None]] == [True] * 13
    cursor = Mock(psycopg.ServerCursor, connection=Mock())
    assert needs_transaction(select(TABLE), cursor)


def test_query_with_snapshot_needs_a_transaction() -> None:
    assert needs_transaction(select(TABLE), default="REPEATABLE READ")
    assert needs_transaction(select(TABLE), isolation_level="SERIALIZABLE")
    assert not needs_transaction(select(TABLE), isolation_level="READ COMMITTED")


def test_only_one_statement_starts_no_transaction(
    connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.Connection, "_start_query", lambda _: iter(["BEGIN"]))
    assert [*connection._start_query()] == ["BEGIN"]
    connection.needs_transaction = False
    assert [*connection._start_query()] == []
    assert [*connection._start_query()] == ["BEGIN"]


@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_end_without_transaction_sends_nothing(
    name: str, connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Mock()
    monkeypatch.setattr(psycopg.Connection, name, end)
    status = psycopg.pq.TransactionStatus
    for connection.pgconn.transaction_status in (status.IDLE, status.INTRANS, status.INERROR):  # type: ignore[misc]
        getattr(connection, name)()
    assert end.call_count == 2


@pytest.mark.parametrize("status", ["IDLE", "INERROR"])
def test_query_with_invalid_prepared_statement_is_repeated(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Mock(side_effect=[psycopg.errors.FeatureNotSupported, "rows"])
    monkeypatch.setattr(psycopg.Cursor, "execute", execute)
    used = Mock()
    used.info.transaction_status = psycopg.pq.TransactionStatus[status]
    cursor = RetryingCursor.__new__(RetryingCursor)
    monkeypatch.setattr(RetryingCursor, "connection", used)
    if status == "IDLE":
        rows: Any = cursor.execute("SELECT 1")
        assert rows == "rows"
        used.execute.assert_called_once_with("DEALLOCATE ALL")
    else:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            cursor.execute("SELECT 1")


def test_connection_is_pinged_if_unused_or_closed(
    connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = socket.socketpair()
    monkeypatch.setattr(connection, "fileno", client.fileno)
    with client:
        with server:
            assert not connection.is_alive()
            connection.last_response = time.monotonic()
            assert connection.is_alive()
            connection.last_response -= postgresql.PING_AFTER
            assert not connection.is_alive()
            connection.last_response = time.monotonic()
        assert not connection.is_alive()


def test_response_is_remembered(
    connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.Connection, "wait", Mock(return_value="row"))
    began = time.monotonic()
    assert connection.wait(Mock()) == "row"
    assert began <= connection.last_response <= time.monotonic()


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


def test_connecting_returns_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = Mock(pgconn=Mock(used_gssapi=False))

    def connect(_: str) -> Generator[tuple[int, Wait], Ready, Mock]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            with client:
                assert (yield client.fileno(), Wait.W) == Ready.W
        return connected

    monkeypatch.setattr(psycopg.Connection, "_connect_gen", connect)
    monkeypatch.setattr(
        BoundedConnection, "timeouts", Mock(remaining_to_connect=lambda: 9), raising=False
    )
    assert BoundedConnection.connect("host=127.0.0.1") is connected
