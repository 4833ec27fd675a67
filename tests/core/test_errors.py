from collections.abc import Callable

import pytest
from flask import Flask, abort, request
from flask.testing import FlaskClient


@pytest.fixture
def failing_client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of an application with failing views."""
    app = make_app(MAX_CONTENT_LENGTH="10")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    add_failing_views(app)
    return app.test_client()


def add_failing_views(app: Flask) -> None:
    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("password=hunter2")

    @app.get("/fail/<int:status>")
    def fail(status: int) -> str:
        abort(status)

    @app.post("/upload")
    def upload() -> str:
        return request.get_data(as_text=True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/health/live", 405),
        ("POST", "/upload", 413),
        ("GET", "/fail/422", 422),
        ("GET", "/fail/429", 429),
        ("GET", "/crash", 500),
    ],
)
def test_error_is_a_problem(
    failing_client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = failing_client.open(path, method=method, data="x" * 11 if method == "POST" else None)
    problem = response.get_json(force=True)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"] == response.headers["X-Request-ID"]


def test_unexpected_error_exposes_nothing(failing_client: FlaskClient) -> None:
    assert "hunter2" not in failing_client.get("/crash").text


def test_error_keeps_its_headers(failing_client: FlaskClient) -> None:
    assert "GET" in failing_client.delete("/health/live").headers["Allow"]
