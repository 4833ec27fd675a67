from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import (
    Column,
    ForeignKey,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from {{ cookiecutter.package_name }}.core.cache import get_store
from {{ cookiecutter.package_name }}.core.database import get_engine, get_session

from .counter import CachedCounter


class Base(DeclarativeBase):
    """Models of this module alone."""


class Pen(Base):
    __tablename__ = "pen"

    id: Mapped[int] = mapped_column(primary_key=True)
    colour: Mapped[str] = mapped_column(String(20))


class Ink(Base):
    __tablename__ = "ink"

    id: Mapped[int] = mapped_column(primary_key=True)
    pens: Mapped[list[Pen]] = relationship(
        secondary=Table(
            "filling",
            Base.metadata,
            Column("ink_id", ForeignKey("ink.id"), primary_key=True),
            Column("pen_id", ForeignKey("pen.id"), primary_key=True),
        )
    )


class Fountain(Pen):
    """A pen with a row of its own beside that of a pen."""

    __tablename__ = "fountain"

    id: Mapped[int] = mapped_column(ForeignKey("pen.id"), primary_key=True)
    nib: Mapped[str] = mapped_column(String(20))


@pytest.fixture(autouse=True)
def _tables(make_app: Callable[..., Flask]) -> Iterator[None]:
    """Two tables, a red pen, and an application to use them in."""
    with make_app().app_context():
        Base.metadata.create_all(get_engine())
        get_session().add(Pen(colour="red"))
        get_session().commit()
        yield
        get_session().close()
        Base.metadata.drop_all(get_engine())


class OtherRequest(CachedCounter):
    """Reads the cache in another request, with a session of its own."""

    def get(self, compute: Callable[[], int] | None = None) -> int:
        with current_app.app_context():
            return super().get(compute)


@pytest.fixture
def other() -> OtherRequest:
    found = OtherRequest(get_store(), ["pen"])
    assert found.get() == 1
    return found


def select_pens(session: Session) -> Sequence[Pen]:
    return session.scalars(select(Pen)).all()


def first_pen(session: Session) -> Pen:
    return select_pens(session)[0]


def add(session: Session) -> None:
    session.add(Pen(colour="blue"))


def change(session: Session) -> None:
    first_pen(session).colour = "blue"


def remove(session: Session) -> None:
    session.delete(first_pen(session))


def add_many(session: Session) -> None:
    session.execute(insert(Pen), [{"colour": "blue"}, {"colour": "green"}])


def change_many(session: Session) -> None:
    session.execute(update(Pen).values(colour="blue"))


def remove_many(session: Session) -> None:
    session.execute(delete(Pen))


def add_to_table(session: Session) -> None:
    session.execute(Pen.__table__.insert(), {"colour": "blue"})  # type: ignore[attr-defined]


CHANGES = [add, change, remove, add_many, change_many, remove_many, add_to_table]


@pytest.mark.parametrize("change_pens", CHANGES)
def test_commit_invalidates(other: OtherRequest, change_pens: Callable[[Session], Any]) -> None:
    session = get_session()
    change_pens(session)
    session.flush()
    assert other.get() == 1
    session.commit()
    assert other.get() == 2
    session.commit()
    assert other.get() == 2


def test_reads_and_other_tables_do_not_invalidate(other: OtherRequest) -> None:
    session = get_session()
    assert first_pen(session).colour == "red"
    assert session.scalar(select(func.count()).select_from(Pen)) == 1
    session.execute(text("SELECT 1"))
    session.add(Ink())
    session.commit()
    assert other.get() == 1


@pytest.mark.parametrize("tag", ["pen", "fountain", "ink", "filling"])
def test_commit_invalidates_each_table_of_an_object(tag: str) -> None:
    counter = OtherRequest(get_store(), [tag])
    session = get_session()
    assert counter.get() == 1
    session.add(Fountain(colour="blue", nib="broad"))
    session.add(Ink(pens=[first_pen(session)]))
    session.commit()
    assert counter.get() == 2


def test_added_link_invalidates_its_table() -> None:
    session = get_session()
    session.add(Ink())
    session.commit()
    counter = OtherRequest(get_store(), ["filling"])
    assert counter.get() == 1
    ink = session.scalars(select(Ink)).one()
    ink.pens.append(first_pen(session))
    session.commit()
    assert counter.get() == 2


@pytest.mark.parametrize("change_pens", CHANGES)
def test_rollback_does_not_invalidate(
    other: OtherRequest, change_pens: Callable[[Session], Any]
) -> None:
    session = get_session()
    change_pens(session)
    session.flush()
    session.rollback()
    assert other.get() == 1


def test_end_of_a_savepoint_does_not_invalidate(other: OtherRequest) -> None:
    session = get_session()
    with session.begin_nested():
        add(session)
    assert other.get() == 1
    with session.begin_nested(), session.begin_nested():
        add(session)
    assert other.get() == 1
    session.commit()
    assert other.get() == 2


def test_rollback_of_a_savepoint_does_not_invalidate(other: OtherRequest) -> None:
    session = get_session()
    savepoint = session.begin_nested()
    add(session)
    session.flush()
    savepoint.rollback()
    assert other.get() == 1
    session.rollback()
    assert other.get() == 1


def test_change_before_a_rolled_back_savepoint_invalidates(other: OtherRequest) -> None:
    session = get_session()
    change(session)
    with suppress(LookupError), session.begin_nested():
        session.add(Ink())
        session.flush()
        raise LookupError
    session.commit()
    assert other.get() == 2


def test_commit_invalidates_changes_of_its_own_session_only(other: OtherRequest) -> None:
    add(get_session())
    get_session().flush()
    with current_app.app_context():
        get_session().execute(text("SELECT 1"))
        get_session().commit()
    assert other.get() == 1


@pytest.mark.parametrize("change_pens", CHANGES)
def test_uncommitted_changes_are_not_cached(
    other: OtherRequest, change_pens: Callable[[Session], Any]
) -> None:
    session = get_session()
    change_pens(session)
    own = CachedCounter(get_store(), ["pen"])
    own.computed = 10

    def read() -> int:
        select_pens(session)
        return own.compute()

    # The cached value differs from what this session reads.
    session.flush()
    assert own.get(read) == 11
    assert other.get() == 1
    other.store.invalidate("pen")
    assert own.get(read) == 12
    assert other.get() == 2
    session.rollback()
    assert own.get(read) == 2


def test_changes_flushed_by_a_query_are_not_cached(other: OtherRequest) -> None:
    session = get_session()
    other.store.invalidate("pen")
    session.add(Pen(colour="blue"))
    own = CachedCounter(get_store(), ["pen"])
    assert own.get(lambda: 10 * len(select_pens(session))) == 20
    session.rollback()
    assert other.get() == 2
