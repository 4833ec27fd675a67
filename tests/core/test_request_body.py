from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core import request_body

TERMINATED = {"wsgi.input_terminated": True}


class Body(BytesIO):
    """A request body; reading a question mark raises `error`."""

    error: type[Exception]

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if b"?" in data:
            raise self.error
        return data


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app()

    @app.post("/upload")
    def upload() -> dict[str, int]:
        return {"size": len(request.get_data())}

    @app.get("/stream")
    def stream() -> Response:
        return Response(iter([b"123", b"45"]), headers={"Content-Length": request.args["length"]})

    return app.test_client()


def send(client: FlaskClient, body: bytes, environ: dict[str, Any]) -> TestResponse:
    return client.post("/upload", input_stream=Body(body), environ_overrides=environ)


@pytest.mark.parametrize("server", [{}, TERMINATED])
def test_incomplete_body_returns_400(client: FlaskClient, server: dict[str, bool]) -> None:
    environ = {"CONTENT_LENGTH": "5", **server}
    assert send(client, b"12345", environ).json == {"size": 5}
    assert send(client, b"1234", environ).status_code == 400


def test_length_that_is_not_a_number_returns_400(client: FlaskClient) -> None:
    assert send(client, b"12345", {"CONTENT_LENGTH": "5, 3"}).status_code == 400


def test_stream_shorter_than_its_length_raises(client: FlaskClient) -> None:
    assert client.get("/stream?length=5").data == b"12345"
    with pytest.raises(EOFError, match="1 bytes"):
        _ = client.get("/stream?length=6").data


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_malformed_chunk_returns_400(
    client: FlaskClient,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Body, "error", error, raising=False)
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", **TERMINATED}
    assert send(client, b"12345", chunked).json == {"size": 5}
    assert send(client, b"12?45", chunked).status_code == 400


def test_unsupported_chunked_body_returns_411(client: FlaskClient) -> None:
    response = send(client, b"12345", {"HTTP_TRANSFER_ENCODING": "chunked"})
    assert response.status_code == 411
    assert "Content-Length" in response.get_json()["detail"]


def test_bodies_in_progress_have_a_limit(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_body, "MAX_BYTES_IN_PROGRESS", 8)

    @client.application.post("/nested")
    def nested() -> dict[str, int]:
        return {name: post(name).status_code for name in ("123", "12345")}

    def post(body: str) -> TestResponse:
        return client.post("/upload", data=body)

    assert client.post("/nested", data="12345").json == {"123": 200, "12345": 503}
    # A single body may be larger. Its bytes are released afterwards.
    assert [post("x" * 20).status_code for _ in range(3)] == [200] * 3
