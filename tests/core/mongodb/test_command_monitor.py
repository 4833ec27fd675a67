from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from pymongo.errors import DuplicateKeyError

from {{ cookiecutter.package_name }}.core.mongodb import get_database
from {{ cookiecutter.package_name }}.core.mongodb.command_monitor import (
    CommandMonitor,
    describe,
)
from {{ cookiecutter.package_name }}.core.operations import Operation

Changes = list[tuple[str, ...]]


@pytest.fixture
def recorded(app: Flask) -> Iterator[tuple[Flask, list[Operation], Changes]]:
    """The application, its operations, and the collections that changed."""
    operations = app.extensions["operations"]
    changes: Changes = []
    finished: list[Operation] = []
    operations.listeners.append(finished.append)
    former, operations.on_change = operations.on_change, lambda *names: changes.append(names)
    yield app, finished, changes
    operations.listeners.pop()
    operations.on_change = former


def test_operations_have_no_values(recorded: tuple[Flask, list[Operation], Changes]) -> None:
    app, finished, _ = recorded
    with app.app_context():
        notes = get_database()["note"]
        notes.insert_one({"id": 1, "text": "secret"})
        assert notes.find_one({"text": "secret"})
    assert [(operation.name, operation.target) for operation in finished] == [
        ("insert", "note"),
        ("find", "note"),
    ]
    assert all(operation.seconds > 0 for operation in finished)
    assert not any("secret" in operation.statement() for operation in finished)
    assert "filter={text: ?}" in finished[1].statement()


def test_only_changes_invalidate(recorded: tuple[Flask, list[Operation], Changes]) -> None:
    app, _, changes = recorded
    with app.app_context():
        notes = get_database()["note"]
        notes.insert_one({"_id": 1})
        assert changes == [("note",)]
        with pytest.raises(DuplicateKeyError):
            notes.insert_one({"_id": 1})
        notes.update_one({"_id": 2}, {"$set": {"text": ""}})
        notes.find_one_and_update({"_id": 2}, {"$set": {"text": ""}})
        notes.delete_one({"_id": 2})
        assert changes == [("note",)]
        notes.find_one_and_update({"_id": 1}, {"$set": {"text": ""}})
        notes.delete_one({"_id": 1})
        assert changes == [("note",)] * 3


def event(name: str, **values: Any) -> Any:
    """Return an event of pymongo about a command."""
    return Mock(command_name=name, duration_micros=1000, **values)


@pytest.mark.parametrize(("end", "expected"), [("commitTransaction", 1), ("abortTransaction", 0)])
def test_transaction_invalidates_after_its_commit(end: str, expected: int) -> None:
    """The fake server has no transactions of replica sets."""
    operations = Mock()
    monitor = CommandMonitor(operations)
    for collection in ("note", "tag"):
        command = {"insert": collection, "autocommit": False}
        monitor.started(event("insert", command=command))
        monitor.succeeded(event("insert", reply={"n": 1}))
    operations.on_change.assert_not_called()
    monitor.started(event(end, command={end: 1, "autocommit": False}))
    monitor.succeeded(event(end, reply={}))
    assert operations.on_change.call_args_list == [(("note", "tag"),)] * expected
    assert operations.finished.call_count == 3


@pytest.mark.parametrize(("failure", "expected"), [({"errmsg": "lost"}, 1), ({"code": 2}, 0)])
def test_write_without_a_reply_invalidates(failure: dict[str, Any], expected: int) -> None:
    operations = Mock()
    monitor = CommandMonitor(operations)
    monitor.started(event("insert", command={"insert": "note"}))
    monitor.failed(event("insert", failure=failure))
    assert operations.on_change.call_count == expected
    (operation,) = operations.finished.call_args.args
    assert operation.error


def test_statement_names_the_fields() -> None:
    command = {"find": "note", "filter": {"id": {"$in": [1, 2]}}, "limit": 3, "lsid": 1, "$db": "x"}
    assert describe("find", command) == "find note filter={id: {$in: [?, …]}} limit=3"
    assert describe("insert", {"insert": "note", "documents": []}) == "insert note documents=[]"
