"""The client: timeouts, conditions, bounded concurrency and reports."""

from collections.abc import Callable, Iterator
from time import sleep
from typing import Any
from unittest.mock import Mock

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from flask import Flask, g

from {{ cookiecutter.package_name }}.core.cassandra import (
    Client,
    get_client,
    is_applied,
)
from {{ cookiecutter.package_name }}.core.cassandra import client as module
from {{ cookiecutter.package_name }}.core.cassandra.client import describe
from {{ cookiecutter.package_name }}.core.operations import Operation

TABLE = "CREATE TABLE IF NOT EXISTS sample (name text, number int, PRIMARY KEY (name, number))"
INSERT = "INSERT INTO sample (name, number) VALUES (?, ?)"
SELECT = "SELECT number FROM sample WHERE name = ?"


@pytest.fixture
def client(app: Flask) -> Iterator[Client]:
    """The client of the application, with an empty table."""
    with app.app_context():
        client = get_client()
        if "sample" not in client.table_names():
            client.execute_directly(TABLE.replace("IF NOT EXISTS ", ""))
        yield client


@pytest.fixture
def finished(app: Flask) -> Iterator[list[Operation]]:
    """The operations of the client."""
    operations: list[Operation] = []
    app.extensions["operations"].listeners.append(operations.append)
    yield operations
    app.extensions["operations"].listeners.remove(operations.append)


def test_statements_are_prepared_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Mock(side_effect=client.connect().prepare)
    monkeypatch.setattr(client.connect(), "prepare", prepare)
    monkeypatch.setattr(client, "prepared", {})
    for number in range(3):
        client.execute(INSERT, "a", number)
    assert [row.number for row in client.execute(SELECT, "a")] == [0, 1, 2]
    assert prepare.call_count == 2


def test_statements_run_concurrently_up_to_the_limit(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "concurrency", 3)
    taken = 0

    def statements() -> Iterator[Any]:
        nonlocal taken
        for number in range(10):
            taken += 1
            yield INSERT, ("b", number)

    results = client.execute_many(statements())
    next(results)
    assert taken == 4
    assert len(list(results)) == 9
    assert len(list(client.stream(SELECT, "b", page_size=4))) == 10


def test_condition_decides(client: Client) -> None:
    if not client.has_conditions:
        pytest.skip("the server has no lightweight transactions")
    statement = client.when("IF NOT EXISTS", (), (INSERT, ("c", 1)))
    assert statement[0].endswith("IF NOT EXISTS")
    assert client.execute_if(statement)
    assert not client.execute_if(statement)


def test_old_servers_get_neither_conditions_nor_times(make_app: Callable[..., Flask]) -> None:
    with make_app(DATABASE_LIGHTWEIGHT_TRANSACTIONS="false").app_context():
        client, statement = get_client(), (INSERT, ("d", 1))
        assert client.when("IF NOT EXISTS", (), statement) == statement
        assert client.at(7, statement) == statement
    assert is_applied([])


def test_time_of_a_write_decides(client: Client) -> None:
    if not client.has_conditions:
        pytest.skip("the server has no timestamps in prepared statements")
    delete = ("DELETE FROM sample WHERE name = ? AND number = ?", ("e", 1))
    client.execute_if(client.at(2, (INSERT, ("e", 1))))
    client.execute_if(client.at(1, delete))
    assert client.execute(SELECT, "e")
    client.execute_batch([client.at(3, delete), client.at(3, (INSERT, ("e", 2)))])
    assert [row.number for row in client.execute(SELECT, "e")] == [2]


def test_operations_are_reported(client: Client, finished: list[Operation]) -> None:
    client.execute(SELECT, "f")
    (operation,) = finished
    assert (operation.name, operation.target) == ("SELECT", "sample")
    assert operation.statement() == SELECT
    assert operation.error is None
    assert describe("TRUNCATE sample") == ("TRUNCATE", "")


def test_failed_operation_is_reported_with_its_error(
    client: Client, finished: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    future = Mock(result=Mock(side_effect=OperationTimedOut({}, None)))
    client.execute(SELECT, "g")
    monkeypatch.setattr(client.connect(), "execute_async", lambda *_, **__: future)
    with pytest.raises(OperationTimedOut):
        client.execute(SELECT, "g")
    assert isinstance(finished[-1].error, OperationTimedOut)


def test_other_calls_of_a_request_fail_after_a_timeout(
    app: Flask, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.execute(SELECT, "h")
    future = Mock(result=Mock(side_effect=OperationTimedOut({}, None)))
    send = Mock(return_value=future)
    monkeypatch.setattr(client.connect(), "execute_async", send)
    with app.test_request_context():
        for _ in range(3):
            with pytest.raises(OperationTimedOut):
                client.execute(SELECT, "h")
        assert g.database_unresponsive
    assert send.call_count == 1


def test_only_statements_without_condition_are_repeated(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[Any] = []
    execute = client.connect().execute_async

    def record(statement: Any, **options: Any) -> Any:
        bound.append(statement.is_idempotent)
        return execute(statement, **options)

    monkeypatch.setattr(client.connect(), "execute_async", record)
    client.execute(INSERT, "i", 1)
    client.execute_if(client.when("IF NOT EXISTS", (), (INSERT, ("i", 2))))
    assert bound == [True, not client.has_conditions]


def test_failed_connection_is_not_repeated_immediately(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Mock(side_effect=NoHostAvailable("down", {}))
    monkeypatch.setattr(module, "open_session", connect)
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.2)
    client = make_app().extensions["cassandra"]
    for _ in range(3):
        with pytest.raises(NoHostAvailable):
            client.connect()
    assert connect.call_count == 1
    sleep(0.3)
    with pytest.raises(NoHostAvailable):
        client.connect()
    assert connect.call_count == 2


def test_cluster_is_closed_if_it_does_not_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Mock(connect=Mock(side_effect=NoHostAvailable("down", {})))
    monkeypatch.setattr(module, "Cluster", lambda: cluster)
    with pytest.raises(NoHostAvailable):
        module.open_session({})
    cluster.shutdown.assert_called_once_with()
