from collections.abc import Callable
from threading import Event

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import health


def test_live_touches_nothing(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    health.add_check(app, "broken", lambda: pytest.fail("liveness asked a dependency"))
    response = app.test_client().get("/health/live")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def test_ready(client: FlaskClient) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.get_json()["status"] == "ok"


def test_ready_names_what_failed_and_the_log_why(
    make_app: Callable[..., Flask],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ask() -> None:
        raise ConnectionError("password=hunter2")

    app = make_app()
    health.add_check(app, "broken", ask)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 503
    assert response.get_json()["checks"]["broken"]["error"] == "ConnectionError"
    assert response.get_json()["checks"]["broken"]["duration_ms"] >= 0
    assert "hunter2" not in response.text
    assert "hunter2" in capsys.readouterr().out


def test_without_what_is_not_vital_it_is_degraded_and_takes_requests(
    make_app: Callable[..., Flask],
) -> None:
    def ask() -> None:
        raise ConnectionError

    app = make_app()
    health.add_check(app, "helpful", ask, is_vital=False)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 200
    assert response.get_json()["status"] == "degraded"
    assert response.get_json()["checks"]["helpful"]["status"] == "failed"

    health.add_check(app, "vital", ask)
    response = app.test_client().get("/health/ready")
    assert response.status_code == 503
    assert response.get_json()["status"] == "failed"


def test_ready_does_not_wait_for_ever_nor_ask_twice(make_app: Callable[..., Flask]) -> None:
    asked = []
    released = Event()

    def ask() -> None:
        asked.append(1)
        released.wait()

    app = make_app(READINESS_TIMEOUT="0.1")
    health.add_check(app, "hanging", ask)
    for _ in range(3):
        response = app.test_client().get("/health/ready")
        assert response.status_code == 503
        assert "no answer" in response.get_json()["checks"]["hanging"]["error"]
    released.set()
    assert len(asked) == 1
