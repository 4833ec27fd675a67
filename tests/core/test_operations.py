from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.operations import Operation


def send_operations(app: Flask, times: int) -> None:
    """Send a request during which `times` operations finish."""

    def view() -> str:
        for _ in range(times):
            operation = Operation("find", "note", lambda: "find note filter={id: ?}", 0.001)
            app.extensions["operations"].finished(operation)
        return ""

    vars(view)["access_rule"] = None
    app.add_url_rule("/operations", view_func=view)
    assert app.test_client().get("/operations").status_code == 200


def test_request_log_has_operation_count(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    send_operations(make_app(), times=3)
    (request,) = read_logs()
    assert request["queries"] == 3
    assert request["queries_ms"] == 3


def test_slow_operation_is_logged_with_the_request_id(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    send_operations(make_app(SLOW_QUERY_MS="1"), times=1)
    slow, request = read_logs()
    assert slow["event"] == "slow query"
    assert slow["request_id"] == request["request_id"]
    assert slow["statement"] == "find note filter={id: ?}"


@pytest.mark.parametrize(("debug", "is_logged"), [("1", True), ("0", False)])
def test_repeated_operation_is_logged_once_in_debug_mode(
    make_app: Callable[..., Flask],
    capsys: pytest.CaptureFixture[str],
    debug: str,
    *,
    is_logged: bool,
) -> None:
    send_operations(make_app(FLASK_DEBUG=debug, REPEATED_QUERY_THRESHOLD="3"), times=9)
    assert capsys.readouterr().out.count("repeated query") == is_logged
