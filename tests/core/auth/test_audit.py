import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }}.core.auth import audit
from {{ cookiecutter.package_name }}.core.rate_limiting import rate_limit

Logs = Callable[[], list[dict[str, Any]]]


def security_events(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "security event"]


def test_event_has_actor_address_and_request_id(
    make_app: Callable[..., Flask], read_logs: Logs
) -> None:
    app = make_app()
    request = app.test_request_context(environ_base={"REMOTE_ADDR": "192.0.2.7"})
    with request, bound_contextvars(request_id="a-request"):
        audit.record("token_rejected", reason="expired")
    (event,) = security_events(read_logs())
    assert event["security_event"] == "token_rejected"
    assert (event["actor"], event["subject"]) == ("", "")
    assert event["address"] == "192.0.2.7"
    assert event["request_id"] == "a-request"
    assert event["reason"] == "expired"


def test_event_of_a_command_has_no_address(make_app: Callable[..., Flask], read_logs: Logs) -> None:
    with make_app().app_context():
        audit.record("token_rejected", subject="7")
    (event,) = security_events(read_logs())
    assert (event["subject"], event["address"]) == ("7", "")


def test_actor_of_a_command_is_the_operator(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()

    @app.cli.command("revoke-something")
    def revoke_something() -> None:
        audit.record("token_rejected", subject="7")
        with app.test_request_context():
            audit.record("token_rejected", subject="8")

    def run() -> list[dict[str, Any]]:
        output = app.test_cli_runner().invoke(args=["revoke-something"]).output
        return security_events([json.loads(line) for line in output.splitlines()])

    monkeypatch.setenv("LOGNAME", "grace")
    command, request = run()
    assert (command["actor"], command["subject"]) == ("cli:grace", "7")
    assert (request["actor"], request["subject"]) == ("", "8")

    def fail() -> str:
        raise KeyError

    monkeypatch.setattr(audit, "getuser", fail)
    assert run()[0]["actor"] == f"cli:{os.getuid()}"


def test_reached_rate_limit_is_recorded_once(
    make_app: Callable[..., Flask], read_logs: Logs
) -> None:
    app = make_app()

    @app.get("/limited")
    @rate_limit("2/day")
    def limited() -> str:
        return ""

    statuses = [app.test_client().get("/limited").status_code for _ in range(5)]
    assert statuses == [200, 200, 429, 429, 429]
    events = [event["security_event"] for event in security_events(read_logs())]
    assert events == ["rate_limit_reached"]
