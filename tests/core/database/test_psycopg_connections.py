import socket
import time
from collections.abc import Generator
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest
from psycopg.errors import _WaitTimeout
from psycopg.waiting import Ready, Wait

from {{ cookiecutter.package_name }}.core.database.psycopg_connections import (
    PING_AFTER,
    BoundedConnection,
    RetryingCursor,
)


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
            connection.last_response -= PING_AFTER
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
