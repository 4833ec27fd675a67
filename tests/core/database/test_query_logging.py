from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }}.core.database import get_session


def send_queries(app: Flask, times: int) -> None:
    """Send a request whose view sends a query `times` times."""

    def view() -> str:
        for number in range(times):
            get_session().execute(text("SELECT :secret"), {"secret": f"secret {number}"})
        return ""

    app.add_url_rule("/queries", view_func=view)
    assert app.test_client().get("/queries").status_code == 200


def test_request_log_has_query_count(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    send_queries(make_app(), times=3)
    (request,) = read_logs()
    assert request["queries"] == 3
    assert request["queries_ms"] > 0


def test_slow_query_is_logged_without_parameters(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    send_queries(make_app(SLOW_QUERY_MS="0"), times=1)
    slow, request = read_logs()
    assert slow["event"] == "slow query"
    assert slow["request_id"] == request["request_id"]
    assert "SELECT" in slow["statement"]
    assert "secret 0" not in str(slow)


@pytest.mark.parametrize(("debug", "is_logged"), [("1", True), ("0", False)])
def test_repeated_query_is_logged_once_in_debug_mode(
    make_app: Callable[..., Flask],
    capsys: pytest.CaptureFixture[str],
    debug: str,
    *,
    is_logged: bool,
) -> None:
    send_queries(make_app(FLASK_DEBUG=debug, REPEATED_QUERY_THRESHOLD="3"), times=9)
    assert capsys.readouterr().out.count("repeated query") == is_logged
