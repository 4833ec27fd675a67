from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import StaticPool, create_engine, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }}.core.auth import Identity, acting_as
from {{ cookiecutter.package_name }}.core.auth.authorship import (
    CreatedBy,
    UpdatedBy,
)
from {{ cookiecutter.package_name }}.core.auth.identity import MAX_ID_LENGTH
from {{ cookiecutter.package_name }}.core.database import sqlite

ADA, BOB = Identity("ada", "Ada"), Identity("b" * MAX_ID_LENGTH, "Bob")


class Base(DeclarativeBase):
    """Base of the model of these tests."""


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    created_by: Mapped[CreatedBy]
    updated_by: Mapped[UpdatedBy]


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with app.app_context(), Session(engine) as session:
        yield session
    engine.dispose()


def authors(session: Session) -> list[tuple[str | None, str | None]]:
    rows = session.execute(select(Note.created_by, Note.updated_by).order_by(Note.id))
    return [(row.created_by, row.updated_by) for row in rows]


def test_object_has_authors(session: Session) -> None:
    with acting_as(ADA):
        note = Note(body="new")
        session.add(note)
        session.commit()
    assert authors(session) == [("ada", "ada")]
    with acting_as(BOB):
        note.body = "changed"
        session.commit()
    assert authors(session) == [("ada", BOB.id)]
    note.body = "changed by a command"
    session.commit()
    assert authors(session) == [("ada", None)]


def test_bulk_statements_set_authors(session: Session) -> None:
    with acting_as(ADA):
        session.execute(insert(Note), [{"body": "one"}, {"body": "two"}])
    with acting_as(BOB):
        session.execute(update(Note).where(Note.body == "two").values(body="2"))
        session.connection().execute(insert(Note).values(body="three"))
    assert authors(session) == [("ada", "ada"), ("ada", BOB.id), (BOB.id, BOB.id)]


def test_upsert_sets_the_last_author(session: Session) -> None:
    statement = sqlite.upsert(Note.__table__, "id", ["body"], {})  # type: ignore[arg-type]
    with acting_as(ADA):
        session.execute(statement, [{"id": 1, "body": "one"}])
    with acting_as(BOB):
        session.execute(statement, [{"id": 1, "body": "1"}, {"id": 2, "body": "two"}])
    assert authors(session) == [("ada", BOB.id), (BOB.id, BOB.id)]


def test_job_acts_for_its_sender(session: Session) -> None:
    for actor in ("ada", ""):
        with bound_contextvars(actor=actor):
            session.add(Note(body="new"))
            session.flush()
    assert authors(session) == [("ada", "ada"), (None, None)]


def test_authors_are_nullable() -> None:
    assert Note.__table__.columns.created_by.nullable
    assert Note.__table__.columns.updated_by.nullable
