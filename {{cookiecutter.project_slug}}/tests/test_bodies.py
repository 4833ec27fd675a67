from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

TERMINATED = {"wsgi.input_terminated": True}


class Body(BytesIO):
    """A body as servers give it: a question mark stands for what cannot be read."""

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

    return app.test_client()


def send(client: FlaskClient, body: bytes, environ: dict[str, Any]) -> TestResponse:
    return client.post("/upload", input_stream=Body(body), environ_overrides=environ)


@pytest.mark.parametrize("server", [{}, TERMINATED])
def test_a_body_that_breaks_off(client: FlaskClient, server: dict[str, bool]) -> None:
    told = {"CONTENT_LENGTH": "5", **server}
    assert send(client, b"12345", told).json == {"size": 5}
    assert send(client, b"1234", told).status_code == 400


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_chunks(
    client: FlaskClient,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Body, "error", error, raising=False)
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", **TERMINATED}
    assert send(client, b"12345", chunked).json == {"size": 5}
    assert send(client, b"12?45", chunked).status_code == 400


def test_a_server_without_chunks(client: FlaskClient) -> None:
    response = send(client, b"12345", {"HTTP_TRANSFER_ENCODING": "chunked"})
    assert response.status_code == 411
    assert "Content-Length" in response.get_json()["detail"]
