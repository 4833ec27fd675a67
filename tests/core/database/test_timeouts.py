import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g
from msgspec.structs import replace
from sqlalchemy import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from {{ cookiecutter.package_name }}.config import Settings, load_settings
from {{ cookiecutter.package_name }}.core import logs
from {{ cookiecutter.package_name }}.core.database.timeouts import (
    MINIMUM,
    Timeouts,
    create_pooled_engine,
    mark_responsive,
    mark_unresponsive,
)
from {{ cookiecutter.package_name }}.core.worker_threads import STARTED


@pytest.fixture
def settings() -> Settings:
    """Settings with timeouts of their own."""
    return replace(
        load_settings({"FLASK_TESTING": "1"}),
        DATABASE_TIMEOUT=5.0,
        DATABASE_CONNECT_TIMEOUT=3,
        DATABASE_STATEMENT_TIMEOUT=4.0,
    )


@pytest.fixture
def timeouts(settings: Settings) -> Timeouts:
    """The timeouts of an engine."""
    return Timeouts(settings)


def test_request_has_remaining_time(app: Flask, timeouts: Timeouts) -> None:
    with app.test_request_context(environ_overrides={STARTED: time.monotonic() - 3}):
        assert 1.5 < timeouts.remaining_to_connect() <= 2
        assert 1.5 < timeouts.remaining() <= 2
        mark_responsive()
        assert timeouts.remaining() == 5


def test_calls_of_late_request_share_the_minimum(app: Flask, timeouts: Timeouts) -> None:
    with app.test_request_context(environ_overrides={STARTED: time.monotonic() - 60}):
        assert timeouts.remaining_for_lock() == pytest.approx(0, abs=0.1)
        assert timeouts.remaining() == pytest.approx(MINIMUM, abs=0.1)
        time.sleep(MINIMUM)
        assert timeouts.remaining() == timeouts.remaining_to_connect() == 0
        assert timeouts.remaining_for_lock() == 0


def test_calls_after_timeout_fail_immediately(app: Flask, timeouts: Timeouts) -> None:
    with app.test_request_context():
        assert timeouts.remaining()
        mark_unresponsive()
        assert timeouts.remaining() == timeouts.remaining_to_connect() == 0


def test_request_waits_for_pooled_connection_until_its_deadline(
    app: Flask, settings: Settings, timeouts: Timeouts
) -> None:
    small = replace(settings, DATABASE_POOL_SIZE=1, DATABASE_MAX_OVERFLOW=0)
    engine = create_pooled_engine(make_url("sqlite://"), small, timeouts)
    engine.dispose()  # creates the pool again, with its own settings
    with (
        engine.connect(),
        app.test_request_context(environ_overrides={STARTED: time.monotonic() - 60}),
    ):
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError):
            engine.connect()
        assert MINIMUM * 0.9 < time.monotonic() - began < 2
    engine.dispose()


def test_end_of_a_pool_is_not_logged(
    settings: Settings, timeouts: Timeouts, read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    logs.configure("INFO", pretty=False)
    read_logs()
    with create_pooled_engine(make_url("sqlite://"), settings, timeouts).connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    connection.engine.dispose()
    assert read_logs() == []


def test_timeout_outside_of_requests_exceeds_statement_timeout(
    app: Flask, settings: Settings, timeouts: Timeouts
) -> None:
    with app.app_context():
        mark_unresponsive()
        assert "database_unresponsive" not in g
        assert timeouts.remaining() == 5
    assert Timeouts(replace(settings, DATABASE_STATEMENT_TIMEOUT=60.0)).remaining() == 61
