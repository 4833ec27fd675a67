from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask, g
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }} import config
from {{ cookiecutter.package_name }}.core.database import (
    get_session,
    partial_index,
)


def test_session_ends_with_context(app: Flask) -> None:
    with app.app_context():
        assert get_session() is get_session()
        get_session().execute(text("SELECT 1"))
    with app.app_context():
        assert "session" not in g


def test_lost_connection_is_ignored_when_session_closes(app: Flask) -> None:
    session = Mock(Session, close=Mock(side_effect=OperationalError("", None, Exception("lost"))))
    with app.app_context():
        g.session = session
    session.invalidate.assert_called_once_with()


@pytest.mark.parametrize(
    "url", ["oracle://server/name", "sqlite://server:port/name", "sqlite+nothing:///name"]
)
def test_unknown_database_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(config.SettingsError, match="DATABASE_URL: expected"):
        make_app(DATABASE_URL=url)


def test_index_is_partial_if_database_supports_it() -> None:
    assert str(partial_index("stock = 0")["sqlite_where"]) == "stock = 0"


def test_checked_client_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Mock(side_effect=lambda *_: object())
    monkeypatch.setitem(
        config.CLIENT_FACTORIES, "DATABASE_URL", config.ClientFactory(create, "a URL", ())
    )
    settings = config.load_settings({"FLASK_TESTING": "1"})
    first = config.take_client("DATABASE_URL", settings)
    create.assert_called_once_with("DATABASE_URL", settings)
    assert config.take_client("DATABASE_URL", settings) is not first
