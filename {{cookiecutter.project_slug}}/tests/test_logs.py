import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import structlog
from flask import Flask
from structlog.contextvars import bind_contextvars
from structlog.testing import capture_logs

from {{ cookiecutter.package_name }} import logs


def test_each_request_is_a_line(
    make_app: Callable[..., Flask], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    response = make_app().test_client().get("/nowhere?secret=1")
    (line,) = logged()
    assert line["event"] == "request"
    assert line["method"] == "GET"
    assert line["path"] == "/nowhere"
    assert line["status"] == 404
    assert line["duration_ms"] > 0
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_all_lines_of_a_request_carry_its_id(
    make_app: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    app = make_app()

    @app.get("/talk")
    def talk() -> str:
        structlog.get_logger().info("native", of=object)
        bind_contextvars(leak=True)
        logs.add("cups", 1)
        logs.add("cups", 0.5)
        logging.getLogger("library").warning("foreign")
        return ""

    response = app.test_client().get("/talk")
    native, foreign, request = logged()
    assert native["event"] == "native"
    assert request["cups"] == 1.5
    assert foreign["logger"] == "library"
    ids = {line["request_id"] for line in (native, foreign, request)}
    assert ids == {response.headers["X-Request-ID"]}

    app.test_client().get("/nowhere")
    (request,) = logged()
    assert "leak" not in request


def test_lines_can_be_captured(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    with capture_logs() as lines:
        app.test_client().get("/nowhere")
    assert [line["status"] for line in lines] == [404]


def test_any_text_and_value_can_be_logged(
    make_app: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    make_app().test_client().get("/žluť")
    structlog.get_logger().info("odd", surrogate="\udcff", keys={1j: object})
    request, odd = logged()
    assert request["path"] == "/žluť"
    assert odd["surrogate"] == "\udcff"


def test_an_unexpected_error_is_logged_with_its_traceback(
    make_app: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/crash", view_func=lambda: str(1 / 0))
    app.test_client().get("/crash")
    error, request = logged()
    assert "ZeroDivisionError" in error["exception"]
    assert request["status"] == 500


def test_probes_are_not_logged(
    make_app: Callable[..., Flask], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    make_app().test_client().get("/health/live")
    assert logged() == []


def test_debug_mode_logs_text(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    make_app(FLASK_DEBUG="1").test_client().get("/nowhere")
    text = capsys.readouterr().out
    assert "/nowhere" in text
    assert not text.startswith("{")


@pytest.mark.parametrize(
    ("hops", "given", "is_taken"),
    [
        ("1", "client-id-0001", True),
        ("0", "client-id-0001", False),
        ("1", 'forged" line', False),
        ("1", "x" * 65, False),
    ],
)
def test_an_id_is_taken_from_a_trusted_proxy_only(
    make_app: Callable[..., Flask],
    hops: str,
    given: str,
    *,
    is_taken: bool,
) -> None:
    client = make_app(TRUSTED_PROXY_HOPS=hops).test_client()
    response = client.get("/nowhere", headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) is is_taken
    assert response.get_json(force=True)["request_id"] == response.headers["X-Request-ID"]


def test_figures_outside_of_a_request_are_dropped() -> None:
    Context().run(logs.add, "queries", 1)
