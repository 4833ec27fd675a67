from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }}.database import get_session


def ask(app: Flask, times: int) -> None:
    """Serve a request that sends a query so many times."""

    def view() -> str:
        for number in range(times):
            get_session().execute(text("SELECT :secret"), {"secret": f"secret {number}"})
        return ""

    app.add_url_rule("/ask", view_func=view)
    assert app.test_client().get("/ask").status_code == 200


def test_a_request_counts_its_queries(
    make_app: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    ask(make_app(), times=3)
    (request,) = logged()
    assert request["queries"] == 3
    assert request["queries_ms"] > 0


def test_a_slow_query_is_logged_without_its_parameters(
    make_app: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    ask(make_app(DATABASE_SLOW_MS="0"), times=1)
    slow, request = logged()
    assert slow["event"] == "slow query"
    assert slow["request_id"] == request["request_id"]
    assert "SELECT" in slow["statement"]
    assert "secret 0" not in str(slow)


@pytest.mark.parametrize(("debug", "is_told"), [("1", True), ("0", False)])
def test_in_debug_mode_a_repeated_query_is_told_once(
    make_app: Callable[..., Flask],
    capsys: pytest.CaptureFixture[str],
    debug: str,
    *,
    is_told: bool,
) -> None:
    ask(make_app(FLASK_DEBUG=debug, DATABASE_REPEATED="3"), times=9)
    assert capsys.readouterr().out.count("repeated query") == is_told
