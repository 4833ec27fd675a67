import logging
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from flask import Flask
from structlog.contextvars import bind_contextvars
from structlog.testing import capture_logs

from {{ cookiecutter.package_name }}.core import logs


def test_request_is_logged(
    make_app: Callable[..., Flask], read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    response = make_app().test_client().get("/nowhere?secret=1")
    (line,) = read_logs()
    assert line["event"] == "request"
    assert line["method"] == "GET"
    assert line["path"] == "/nowhere"
    assert line["status"] == 404
    assert line["duration_ms"] > 0
    assert line["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("nanoseconds", [0, 1_999_999_999, 1_700_000_000_000_001_000])
def test_timestamp_is_that_of_structlog(nanoseconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "time_ns", lambda: nanoseconds)
    time = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    time += timedelta(microseconds=nanoseconds // 1000 % 10**6)
    event = logs.add_timestamp(None, "", {})
    assert event == {"timestamp": time.isoformat(timespec="microseconds").replace("+00:00", "Z")}


def test_all_log_lines_of_a_request_have_its_id(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    app = make_app()

    @app.get("/log")
    def log_values() -> str:
        structlog.get_logger().info("native", of=object)
        bind_contextvars(leak=True)
        logs.add_metric("cups", 1)
        logs.add_metric("cups", 0.5)
        logging.getLogger("library").warning("foreign")
        return ""

    response = app.test_client().get("/log")
    native, foreign, request = read_logs()
    assert native["event"] == "native"
    assert request["cups"] == 1.5
    assert foreign["logger"] == "library"
    ids = {line["request_id"] for line in (native, foreign, request)}
    assert ids == {response.headers["X-Request-ID"]}

    app.test_client().get("/nowhere")
    (request,) = read_logs()
    assert "leak" not in request


def test_log_lines_can_be_captured(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    with capture_logs() as lines:
        app.test_client().get("/nowhere")
    assert [line["status"] for line in lines] == [404]


def test_any_value_can_be_logged(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    make_app().test_client().get("/žluť")
    structlog.get_logger().info("odd", surrogate="\udcff", keys={1j: object})
    request, odd = read_logs()
    assert request["path"] == "/žluť"
    assert odd["surrogate"] == "\udcff"


def test_unexpected_error_is_logged_with_traceback(
    make_app: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/crash", view_func=lambda: str(1 / 0))
    app.test_client().get("/crash")
    error, request = read_logs()
    assert "ZeroDivisionError" in error["exception"]
    assert request["status"] == 500


def test_health_checks_are_not_logged(
    make_app: Callable[..., Flask], read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    make_app().test_client().get("/health/live")
    assert read_logs() == []


def test_debug_mode_logs_text(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    make_app(FLASK_DEBUG="1").test_client().get("/nowhere")
    text = capsys.readouterr().out
    assert "/nowhere" in text
    assert not text.startswith("{")


def test_debug_mode_shows_the_text_of_a_mail_as_it_is(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    make_app(FLASK_DEBUG="1")
    structlog.get_logger().info("mail", to="ada@example.com", text="https://a.example/b\n\nYours")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["https://a.example/b", "", "Yours", ""]


@pytest.mark.parametrize(
    ("hops", "sent", "is_accepted"),
    [
        ("1", "client-id-0001", True),
        ("0", "client-id-0001", False),
        ("1", 'forged" line', False),
        ("1", "x" * 65, False),
    ],
)
def test_request_id_is_accepted_only_from_a_trusted_proxy(
    make_app: Callable[..., Flask],
    hops: str,
    sent: str,
    *,
    is_accepted: bool,
) -> None:
    client = make_app(TRUSTED_PROXY_HOPS=hops).test_client()
    response = client.get("/nowhere", headers={"X-Request-ID": sent})
    assert (response.headers["X-Request-ID"] == sent) is is_accepted
    assert response.get_json(force=True)["request_id"] == response.headers["X-Request-ID"]


def test_metric_outside_of_a_request_is_ignored() -> None:
    Context().run(logs.add_metric, "queries", 1)
