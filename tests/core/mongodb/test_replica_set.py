"""Replies that the fake server cannot give, from a scripted server: see wire_server.py."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.mongodb import (
    get_database,
    in_transaction,
)

from .wire_server import Document, failure, wire_server

MakeApp = Callable[..., Flask]
ReadLogs = Callable[[], list[dict[str, Any]]]

LABEL = "RetryableWriteError"
NOT_PRIMARY = failure(10107, "not primary", LABEL)


def connect(make_app: MakeApp, url: str, **settings: str) -> FlaskClient:
    """Return a client of an application with a view that writes a document."""
    app = make_app(DATABASE_URL=url, DATABASE_CONNECT_TIMEOUT="1", **settings)

    def write() -> str:
        return str(get_database()["note"].insert_one({"text": ""}).acknowledged)

    vars(write)["access_rule"] = None
    app.add_url_rule("/write", view_func=write)
    return app.test_client()


@pytest.mark.parametrize(("code", "text"), [(18, "Authentication failed."), (8000, "bad auth")])
def test_rejected_login_returns_503_immediately(
    make_app: MakeApp, read_logs: ReadLogs, code: int, text: str
) -> None:
    def respond(command: Document) -> Document | None:
        return failure(code, text) if "saslStart" in command else None

    with wire_server(respond) as server:
        client = connect(make_app, server.url.replace("127.0.0.1", "user:hidden@127.0.0.1"))
        started = time.monotonic()
        assert client.get("/write").status_code == 503
        assert time.monotonic() - started < 1
        (error,) = [line for line in read_logs() if line["event"] == "database unavailable"]
        assert error["error"] == text
        assert client.get("/health/ready").status_code == 503
        result = client.application.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.output == f"Error: the database: {text}\n"
    assert "insert" not in [next(iter(command)) for command in server.commands]


def test_write_is_repeated_after_an_election(make_app: MakeApp) -> None:
    replies = [NOT_PRIMARY]

    def respond(command: Document) -> Document | None:
        return replies.pop() if "insert" in command and replies else {"ok": 1, "n": 1}

    with wire_server(respond) as server:
        assert connect(make_app, server.url).get("/write").status_code == 200
    numbers = [command["txnNumber"] for command in server.commands if "insert" in command]
    # The server recognizes the second one by its number.
    assert numbers == [1, 1]


def test_requests_do_not_wait_while_there_is_no_primary(
    make_app: MakeApp, read_logs: ReadLogs
) -> None:
    def respond(command: Document) -> Document | None:
        return {"ok": 1, "n": 1} if server.is_primary or "insert" not in command else NOT_PRIMARY

    with wire_server(respond) as server:
        client = connect(make_app, server.url, DATABASE_STATEMENT_TIMEOUT="1")
        assert client.get("/write").status_code == 200
        server.is_primary = False
        durations = []
        read_logs()
        for _ in range(9):
            started = time.monotonic()
            assert client.get("/write").status_code == 503
            durations.append(time.monotonic() - started)
        # The first ones wait for an election.
        assert max(durations[3:]) < 0.5
        assert client.get("/health/ready").status_code == 503
        errors = [line["error"] for line in read_logs() if line["event"] == "database unavailable"]
        assert len(errors) == 9
        assert errors[-1].startswith("no server has accepted writes for ")
        assert not any("Topology" in error for error in errors)
        server.is_primary = True
        deadline = time.monotonic() + 10
        while client.get("/write").status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_transaction_is_repeated_after_a_transient_error(make_app: MakeApp) -> None:
    replies = [failure(251, "no such transaction", "TransientTransactionError")]

    def respond(command: Document) -> Document | None:
        return replies.pop() if "insert" in command and replies else {"ok": 1, "n": 1}

    with wire_server(respond) as server:
        app = make_app(DATABASE_URL=server.url)
        with app.app_context():
            notes = get_database()["note"]
            in_transaction(get_database(), lambda session: notes.insert_one({}, session=session))
    # `in_transaction` sends a ping if the driver does not know the type of the server yet.
    sent = [next(iter(command)) for command in server.commands if "ping" not in command]
    assert sent == ["insert", "abortTransaction", "insert", "commitTransaction"]
    inserts = [command for command in server.commands if "insert" in command]
    assert [command["txnNumber"] for command in inserts] == [1, 2]
    assert all(command["startTransaction"] is True for command in inserts)


def test_write_concern_is_sent(make_app: MakeApp) -> None:
    with wire_server(lambda _: {"ok": 1, "n": 1}) as server:
        client = connect(make_app, server.url, DATABASE_WRITE_CONCERN="majority")
        assert client.get("/write").status_code == 200
    (insert,) = (command for command in server.commands if "insert" in command)
    assert insert["writeConcern"] == {"w": "majority"}
    # timeoutMS limits the time on the server.
    assert 0 < insert["maxTimeMS"] <= 30_000
