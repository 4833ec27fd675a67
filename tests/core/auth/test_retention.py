from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, g
from sqlalchemy import Column, delete, inspect, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.visitors import iterate

from {{ cookiecutter.package_name }}.core.auth import audit, retention
from {{ cookiecutter.package_name }}.core.auth.audit_table import AuditEvent
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow


@pytest.fixture(autouse=True)
def _old_events(app: Flask) -> None:
    """The table has two old events."""
    with app.app_context():
        get_session().execute(delete(AuditEvent))
        get_session().commit()
        for subject in ("first", "second"):
            audit.record("token_rejected", subject=subject)
        for event in g.audit_events:
            event.created_at = utcnow() - timedelta(days=366)


def store(app: Flask) -> list[str]:
    """Store a new event, and return the subjects of all."""
    with app.app_context():
        audit.record("token_rejected", subject="new")
    with app.app_context():
        return [*get_session().scalars(select(AuditEvent.subject).order_by(AuditEvent.id))]


def test_old_events_are_deleted(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SHARE", 1)
    assert store(app) == ["new"]


def test_most_events_delete_nothing(app: Flask) -> None:
    assert store(app) == ["first", "second", "new"]


def test_one_batch_is_deleted(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SHARE", 1)
    monkeypatch.setattr(retention, "BATCH", 1)
    assert len(store(app)) == 2


def test_failed_deletion_is_logged(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    def fail(_: object) -> None:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(retention, "SHARE", 1)
    monkeypatch.setattr(retention, "delete_batch", fail)
    assert "new" in store(app)
    assert read_logs()[-1]["event"] == "old rows not deleted"


def test_indexes_find_old_rows(app: Flask) -> None:
    with app.app_context():
        for model, get_condition in retention.OLD_ROWS.items():
            columns = {
                element.key for element in iterate(get_condition()) if isinstance(element, Column)
            }
            indexes = inspect(model).local_table.indexes
            assert columns & {index.columns[0].key for index in indexes}, model
