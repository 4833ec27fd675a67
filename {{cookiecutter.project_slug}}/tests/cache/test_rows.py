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

from {{ cookiecutter.package_name }}.cache import get_cache
from {{ cookiecutter.package_name }}.database import get_engine, get_session

from .numbers import Numbers


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


class Others(Numbers):
    """What others than our session read of the pens, and a store keeps."""

    def get(self, make: Callable[[], int] | None = None) -> int:
        with current_app.app_context():
            return super().get(make)


@pytest.fixture
def others() -> Others:
    found = Others(get_cache(), ["pen"])
    assert found.get() == 1
    return found


def the_pens(session: Session) -> Sequence[Pen]:
    return session.scalars(select(Pen)).all()


def the_pen(session: Session) -> Pen:
    return the_pens(session)[0]


def add(session: Session) -> None:
    session.add(Pen(colour="blue"))


def change(session: Session) -> None:
    the_pen(session).colour = "blue"


def remove(session: Session) -> None:
    session.delete(the_pen(session))


def add_many(session: Session) -> None:
    session.execute(insert(Pen), [{"colour": "blue"}, {"colour": "green"}])


def change_many(session: Session) -> None:
    session.execute(update(Pen).values(colour="blue"))


def remove_many(session: Session) -> None:
    session.execute(delete(Pen))


def add_to_table(session: Session) -> None:
    session.execute(Pen.__table__.insert(), {"colour": "blue"})  # type: ignore[attr-defined]


CHANGES = [add, change, remove, add_many, change_many, remove_many, add_to_table]


@pytest.mark.parametrize("make_change", CHANGES)
def test_a_change_is_told_by_its_commit(
    others: Others, make_change: Callable[[Session], Any]
) -> None:
    session = get_session()
    make_change(session)
    session.flush()
    assert others.get() == 1
    session.commit()
    assert others.get() == 2
    session.commit()
    assert others.get() == 2


def test_reading_and_other_tables_change_nothing(others: Others) -> None:
    session = get_session()
    assert the_pen(session).colour == "red"
    assert session.scalar(select(func.count()).select_from(Pen)) == 1
    session.execute(text("SELECT 1"))
    session.add(Ink())
    session.commit()
    assert others.get() == 1


@pytest.mark.parametrize("tag", ["pen", "fountain", "ink", "filling"])
def test_each_table_of_an_object_is_told(tag: str) -> None:
    numbers = Others(get_cache(), [tag])
    session = get_session()
    assert numbers.get() == 1
    session.add(Fountain(colour="blue", nib="broad"))
    session.add(Ink(pens=[the_pen(session)]))
    session.commit()
    assert numbers.get() == 2


def test_a_link_that_is_added_is_told() -> None:
    session = get_session()
    session.add(Ink())
    session.commit()
    numbers = Others(get_cache(), ["filling"])
    assert numbers.get() == 1
    ink = session.scalars(select(Ink)).one()
    ink.pens.append(the_pen(session))
    session.commit()
    assert numbers.get() == 2


@pytest.mark.parametrize("make_change", CHANGES)
def test_what_is_rolled_back_was_no_change(
    others: Others, make_change: Callable[[Session], Any]
) -> None:
    session = get_session()
    make_change(session)
    session.flush()
    session.rollback()
    assert others.get() == 1


def test_a_savepoint_is_no_commit(others: Others) -> None:
    session = get_session()
    with session.begin_nested():
        add(session)
    assert others.get() == 1
    with session.begin_nested(), session.begin_nested():
        add(session)
    assert others.get() == 1
    session.commit()
    assert others.get() == 2


def test_a_savepoint_that_is_rolled_back_tells_nothing(others: Others) -> None:
    session = get_session()
    savepoint = session.begin_nested()
    add(session)
    session.flush()
    savepoint.rollback()
    assert others.get() == 1
    session.rollback()
    assert others.get() == 1


def test_a_change_before_a_savepoint_that_is_rolled_back_is_told(others: Others) -> None:
    session = get_session()
    change(session)
    with suppress(LookupError), session.begin_nested():
        session.add(Ink())
        session.flush()
        raise LookupError
    session.commit()
    assert others.get() == 2


def test_each_session_tells_its_own(others: Others) -> None:
    add(get_session())
    get_session().flush()
    with current_app.app_context():
        get_session().execute(text("SELECT 1"))
        get_session().commit()
    assert others.get() == 1


@pytest.mark.parametrize("make_change", CHANGES)
def test_what_is_not_committed_is_kept_for_nobody(
    others: Others, make_change: Callable[[Session], Any]
) -> None:
    session = get_session()
    make_change(session)
    mine = Numbers(get_cache(), ["pen"])
    mine.made = 10

    def read() -> int:
        the_pens(session)
        return mine.make()

    # What is kept already is not what we would read.
    session.flush()
    assert mine.get(read) == 11
    assert others.get() == 1
    others.store.forget("pen")
    assert mine.get(read) == 12
    assert others.get() == 2
    session.rollback()
    assert mine.get(read) == 2


def test_what_a_query_writes_first_is_kept_for_nobody(others: Others) -> None:
    session = get_session()
    others.store.forget("pen")
    session.add(Pen(colour="blue"))
    mine = Numbers(get_cache(), ["pen"])
    assert mine.get(lambda: 10 * len(the_pens(session))) == 20
    session.rollback()
    assert others.get() == 2
