from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.core.auth import audit
from {{ cookiecutter.package_name }}.core.auth.audit_table import AuditEvent
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

Logs = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _no_other_events(app: Flask) -> None:
    with app.app_context():
        get_session().execute(delete(AuditEvent))
        get_session().commit()


def stored(app: Flask) -> list[AuditEvent]:
    with app.app_context():
        return [*get_session().scalars(select(AuditEvent).order_by(AuditEvent.id))]


def test_event_is_stored_although_the_request_fails(app: Flask) -> None:
    with app.app_context():
        get_session().execute(text("SELECT 1"))
        audit.record("token_rejected", subject="7", reason="expired")
        get_session().rollback()
    (event,) = stored(app)
    assert (event.security_event, event.subject) == ("token_rejected", "7")
    assert event.details == {"reason": "expired"}
    assert utcnow() - event.created_at < timedelta(minutes=1)


def test_unavailable_database_does_not_fail_the_request(
    app: Flask, monkeypatch: pytest.MonkeyPatch, read_logs: Logs
) -> None:
    def fail(_: Session) -> None:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(Session, "commit", fail)
    with app.app_context():
        audit.record("token_rejected", subject="7")
    assert read_logs()[-1]["event"] == "security events not stored"
    monkeypatch.undo()
    assert not stored(app)


def test_command_lists_the_events_of_a_user(app: Flask) -> None:
    for subject in ("7", "8"):
        with app.app_context():
            audit.record("token_rejected", subject=subject, reason="expired")
    runner = app.test_cli_runner()
    lines = runner.invoke(args=["audit", "list"]).output.splitlines()
    assert [line.split("\t")[3] for line in lines] == ["8", "7"]
    (line,) = runner.invoke(args=["audit", "list", "--user", "7"]).output.splitlines()
    time, event, _, subject, _, _, details = line.split("\t")
    assert time.endswith("Z")
    assert (event, subject, details) == ("token_rejected", "7", '{"reason":"expired"}')


def test_event_of_an_unknown_client_is_not_stored(app: Flask) -> None:
    with app.app_context():
        audit.record("token_rejected")
    assert not stored(app)
