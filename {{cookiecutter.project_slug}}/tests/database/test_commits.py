from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.database import get_session
from {{ cookiecutter.package_name }}.database.commits import (
    after_commit,
    before_commit,
)

Notes = list[str]


@pytest.fixture
def session(app: Flask) -> Session:
    """A session of the application."""
    with app.app_context():
        return get_session()


def note(notes: Notes, what: str) -> Callable[[], None]:
    return lambda: notes.append(what)


def test_actions_run_around_the_commit_and_once(session: Session) -> None:
    notes: Notes = []
    after_commit(session, note(notes, "after"))
    before_commit(session, note(notes, "before"))
    assert notes == []
    session.commit()
    session.commit()
    assert notes == ["before", "after"]


@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_what_is_not_committed_is_forgotten(
    session: Session,
    end: Callable[[Session], None],
) -> None:
    notes: Notes = []
    before_commit(session, note(notes, "before"))
    after_commit(session, note(notes, "after"))
    end(session)
    session.connection()
    session.commit()
    assert notes == []


def test_an_action_may_refuse_the_commit(session: Session) -> None:
    notes: Notes = []

    def refuse() -> None:
        raise ConnectionError

    before_commit(session, refuse)
    after_commit(session, note(notes, "after"))
    with pytest.raises(ConnectionError):
        session.commit()
    session.rollback()
    session.connection()
    session.commit()
    assert notes == []


def test_a_savepoint_is_no_commit(session: Session) -> None:
    notes: Notes = []
    after_commit(session, note(notes, "outer"))
    with session.begin_nested():
        before_commit(session, note(notes, "before"))
        after_commit(session, note(notes, "inner"))
    assert notes == []
    session.commit()
    assert notes == ["before", "outer", "inner"]


def test_a_savepoint_that_is_rolled_back_takes_its_actions_along(session: Session) -> None:
    notes: Notes = []
    after_commit(session, note(notes, "outer"))
    savepoint = session.begin_nested()
    after_commit(session, note(notes, "inner"))
    savepoint.rollback()
    session.commit()
    assert notes == ["outer"]
