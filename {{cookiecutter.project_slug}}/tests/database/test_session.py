from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask, g
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.database import get_session, partial


def test_a_session_lives_as_long_as_the_context(app: Flask) -> None:
    with app.app_context():
        assert get_session() is get_session()
        get_session().execute(text("SELECT 1"))
    with app.app_context():
        assert "session" not in g


def test_a_connection_that_is_lost_after_the_answer_does_no_harm(app: Flask) -> None:
    session = Mock(Session, close=Mock(side_effect=OperationalError("", None, Exception("lost"))))
    with app.app_context():
        g.session = session
    session.invalidate.assert_called_once_with()


@pytest.mark.parametrize(
    "url", ["oracle://server/name", "sqlite://server:port/name", "sqlite+nothing:///name"]
)
def test_an_unknown_database_is_refused_in_one_line(
    make_app: Callable[..., Flask], url: str
) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL: expected"):
        make_app(DATABASE_URL=url)


def test_an_index_is_partial_where_it_can_be() -> None:
    assert str(partial("stock = 0")["sqlite_where"]) == "stock = 0"
