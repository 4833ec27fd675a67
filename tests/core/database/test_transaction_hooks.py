from collections.abc import Callable, Iterator
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.core.database import get_session, on_commit

Calls = list[str]


def fail() -> None:
    raise ConnectionError


@pytest.fixture
def calls() -> Calls:
    """The names of the callbacks that ran."""
    return []


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """A session of the application, in a transaction."""
    with app.app_context():
        session = get_session()
        session.execute(text("SELECT 1"))
        yield session


def test_callback_runs_once_after_commit(session: Session, calls: Calls) -> None:
    on_commit(
        lambda: calls.append("callback"), check=lambda: calls.append("check"), session=session
    )
    assert calls == []
    session.commit()
    session.connection()
    session.commit()
    assert calls == ["check", "callback"]


def test_callback_runs_immediately_without_transaction(app: Flask, calls: Calls) -> None:
    with app.app_context():
        on_commit(lambda: calls.append("callback"), check=fail)
    assert calls == ["callback"]


@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_rollback_discards_callback(
    session: Session,
    calls: Calls,
    end: Callable[[Session], None],
) -> None:
    on_commit(lambda: calls.append("callback"), check=fail, session=session)
    end(session)
    session.connection()
    session.commit()
    assert calls == []


def test_failed_check_prevents_commit(session: Session, calls: Calls) -> None:
    on_commit(lambda: calls.append("callback"), check=fail, session=session)
    with pytest.raises(ConnectionError):
        session.commit()
    session.rollback()
    session.connection()
    session.commit()
    assert calls == []


def test_failed_callback_does_not_stop_the_others(session: Session, calls: Calls) -> None:
    for callback in (lambda: calls.append("first"), fail, lambda: calls.append("last")):
        on_commit(callback, session=session)
    with pytest.raises(ConnectionError):
        session.commit()
    assert calls == ["first", "last"]


def test_savepoint_does_not_run_callback(session: Session, calls: Calls) -> None:
    add = partial(on_commit, session=session)
    add(lambda: calls.append("outer"))
    with session.begin_nested():
        add(lambda: calls.append("inner"))
        with session.begin_nested():
            add(lambda: calls.append("innermost"), check=lambda: calls.append("check"))
    assert calls == []
    session.commit()
    assert calls == ["check", "outer", "inner", "innermost"]


def test_rolled_back_savepoint_discards_its_callback(session: Session, calls: Calls) -> None:
    on_commit(lambda: calls.append("outer"), session=session)
    savepoint = session.begin_nested()
    on_commit(lambda: calls.append("inner"), session=session)
    savepoint.rollback()
    session.commit()
    assert calls == ["outer"]


def test_callback_may_register_another_one(session: Session, calls: Calls) -> None:
    on_commit(lambda: on_commit(lambda: calls.append("second"), session=session), session=session)
    session.commit()
    assert calls == ["second"]
