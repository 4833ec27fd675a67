"""The table of security events, and `flask audit`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
import structlog
from flask import Flask, g
from flask.cli import AppGroup
from sqlalchemy import JSON, ColumnElement, String, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import get_contextvars

from ...config import get_settings
from ..database import Base, cli_errors, close_session, get_session, utcnow
from . import retention

# The subject of an event that is only written so that it takes as long as one of a user.
UNKNOWN = "unknown"

audit = AppGroup("audit", help="Show security events.")


class AuditEvent(Base):
    """A security event. The application only adds rows, and deletes them after a time."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    security_event: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255), index=True)
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    details: Mapped[Any] = mapped_column(JSON)


def init_app(app: Flask) -> None:
    """Write events when a request or a command ends, and add the command."""
    app.teardown_appcontext(write)
    retention.OLD_ROWS[AuditEvent] = old_events
    app.cli.add_command(audit)


def add(values: Mapping[str, str], details: Mapping[str, Any]) -> None:
    """Note an event, which is written when the request ends: a rollback does not discard it."""
    request_id = str(get_contextvars().get("request_id", ""))
    event = AuditEvent(**values, request_id=request_id, details=dict(details), created_at=utcnow())
    g.setdefault("audit_events", []).append(event)


def write(_: BaseException | None = None) -> None:
    """Write the events of the request in a transaction of their own.

    If the database is unavailable, the log lines remain.
    """
    if "audit_events" not in g:
        return
    events = g.pop("audit_events")
    close_session()
    session = get_session()
    try:
        session.add_all(events)
        session.commit()
    except SQLAlchemyError as error:
        structlog.get_logger().error("security events not stored", error=type(error).__name__)
    else:
        retention.delete_sometimes()
    finally:
        close_session()


def old_events() -> ColumnElement[bool]:
    """Return the condition for events that are older than AUDIT_RETENTION_DAYS.

    Those of unknown users go earlier, so that guesses of addresses do not fill the database.
    """
    before = utcnow() - timedelta(days=get_settings().AUDIT_RETENTION_DAYS)
    return or_(AuditEvent.created_at < before, AuditEvent.subject == UNKNOWN)


@audit.command("list")
@click.option("--user", default="", help="Only events of this user, by ID.")
@click.option("--limit", default=50, show_default=True, help="Number of events.")
def list_events(user: str, limit: int) -> None:
    """Print the latest events: time, event, actor, subject, address, request ID, details."""
    statement = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if user:
        statement = statement.where((AuditEvent.subject == user) | (AuditEvent.actor == user))
    with cli_errors():
        for event in get_session().scalars(statement):
            click.echo(
                f"{event.created_at:%Y-%m-%dT%H:%M:%SZ}\t{event.security_event}\t{event.actor}"
                f"\t{event.subject}\t{event.address}\t{event.request_id}"
                f"\t{msgspec.json.encode(event.details).decode()}"
            )
