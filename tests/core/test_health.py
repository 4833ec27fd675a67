from collections.abc import Callable
from threading import Event

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core import health


def test_live_runs_no_checks(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    health.add_check(app, "broken", lambda: pytest.fail("/health/live ran a check"))
    response = app.test_client().get("/health/live")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def test_ready_returns_200(client: FlaskClient) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.get_json()["status"] == "ok"


def test_failed_check_returns_503_without_the_error_text(
    make_app: Callable[..., Flask],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def probe() -> None:
        raise ConnectionError("password=hunter2")

    app = make_app()
    health.add_check(app, "broken", probe)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 503
    assert response.get_json()["checks"]["broken"]["error"] == "ConnectionError"
    assert response.get_json()["checks"]["broken"]["duration_ms"] >= 0
    assert "hunter2" not in response.text
    assert "hunter2" in capsys.readouterr().out


def test_failed_optional_check_returns_200_degraded(
    make_app: Callable[..., Flask],
) -> None:
    def probe() -> None:
        raise ConnectionError

    app = make_app()
    health.add_check(app, "optional", probe, required=False)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 200
    assert response.get_json()["status"] == "degraded"
    assert response.get_json()["checks"]["optional"]["status"] == "failed"

    health.add_check(app, "required", probe)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 503
    assert response.get_json()["status"] == "failed"


def test_hanging_check_times_out_and_runs_once(make_app: Callable[..., Flask]) -> None:
    calls = []
    released = Event()

    def probe() -> None:
        calls.append(1)
        released.wait()

    app = make_app(READINESS_TIMEOUT="0.1")
    health.add_check(app, "hanging", probe)
    for _ in range(3):
        response = app.test_client().get("/health/ready")
        assert response.status_code == 503
        assert "no response" in response.get_json()["checks"]["hanging"]["error"]
    released.set()
    assert len(calls) == 1
