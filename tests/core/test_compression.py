import gzip
from collections.abc import Callable

import brotli
import pytest
import zstandard
from flask import Flask, Response, stream_with_context
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.compression import (
    ENCODINGS,
    choose_encoding,
)
from {{ cookiecutter.package_name }}.core.http_caching import public

DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstandard.decompress}
TEXT = "A text that repeats itself. " * 50
BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd"}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of views with different responses."""
    app = make_app()
    kinds = {"text": "text/plain", "image": "image/png", "events": "text/event-stream"}
    for name, kind in kinds.items():
        app.add_url_rule(f"/{name}", name, lambda kind=kind: Response(TEXT, mimetype=kind))
    app.add_url_rule("/public", "public", public()(lambda: TEXT))
    app.add_url_rule("/small", "small", lambda: "small")
    app.add_url_rule("/stream", "stream", lambda: stream_with_context(iter([TEXT])))
    app.add_url_rule("/part", "part", lambda: (TEXT, 206))
    app.add_url_rule("/encoded", "encoded", lambda: (TEXT, {"Content-Encoding": "gzip"}))
    app.add_url_rule("/exact", "exact", lambda: (TEXT, {"Cache-Control": "no-transform"}))
    app.add_url_rule("/weak", "weak", lambda: (TEXT, {"ETag": 'W/"1"'}))
    return app.test_client()


@pytest.mark.parametrize("encoding", DECODERS)
def test_text_is_compressed(client: FlaskClient, encoding: str) -> None:
    response = client.get("/text", headers={"Accept-Encoding": encoding})
    assert response.headers["Content-Encoding"] == encoding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.content_length == len(response.data) < len(TEXT)
    assert DECODERS[encoding](response.data).decode() == TEXT


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("GZIP", "gzip"),
        ("zstd;q=0.1, br;q=0.2, gzip;q=0.9", "gzip"),
        ("zstd;q=0, br;q=0, *", "gzip"),
        ("*", "zstd"),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("deflate, nonsense;;;", None),
    ],
)
def test_quality_values_are_respected(accepted: str, chosen: str | None) -> None:
    assert choose_encoding(accepted, ENCODINGS) == chosen
    assert choose_encoding(accepted, ()) is None


def test_text_is_plain_without_accept_encoding(client: FlaskClient) -> None:
    response = client.get("/text")
    assert response.text == TEXT
    assert "Content-Encoding" not in response.headers
    assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["image", "events", "small", "stream", "part", "exact"])
def test_other_responses_are_not_compressed(client: FlaskClient, path: str) -> None:
    response = client.get(f"/{path}", headers=BROWSER)
    assert "Content-Encoding" not in response.headers
    assert "Vary" not in response.headers


def test_encoded_response_is_not_compressed_again(client: FlaskClient) -> None:
    assert client.get("/encoded", headers=BROWSER).text == TEXT


def test_compressed_response_has_a_weak_etag(client: FlaskClient) -> None:
    plain = client.get("/public").headers["ETag"]
    small = client.get("/public", headers=BROWSER).headers["ETag"]
    assert not plain.startswith("W/")
    assert small == f"W/{plain}"
    assert client.get("/weak", headers=BROWSER).headers["ETag"] == 'W/"1"'
    for tag, headers in ((small, BROWSER), (plain, {}), (small, {})):
        response = client.get("/public", headers={**headers, "If-None-Match": tag})
        assert response.status_code == 304
        assert not response.data
        assert response.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in response.headers
