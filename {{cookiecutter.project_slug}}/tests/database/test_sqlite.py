from pathlib import Path

from sqlalchemy import make_url, text

from {{ cookiecutter.package_name }}.database import sqlite


def test_a_connection_is_set_up(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path}/test.sqlite3")
    engine = sqlite.make_engine(url, {"READINESS_TIMEOUT": 1.0})
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()
