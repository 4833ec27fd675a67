import gzip
from collections.abc import Callable

import brotli
import pytest
import zstandard
from flask import Flask, Response, stream_with_context
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.http_caching import public
from {{ cookiecutter.package_name }}.proxies.compression import ENCODINGS, choose

DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstandard.decompress}
TEXT = "A text that says the same again and again. " * 50
BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd"}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of views that answer with all kinds of things."""
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
def test_a_text_is_compressed_as_the_client_likes_it(client: FlaskClient, encoding: str) -> None:
    answer = client.get("/text", headers={"Accept-Encoding": encoding})
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.content_length == len(answer.data) < len(TEXT)
    assert DECODERS[encoding](answer.data).decode() == TEXT


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
def test_qualities_count(accepted: str, chosen: str | None) -> None:
    assert choose(accepted, ENCODINGS) == chosen
    assert choose(accepted, ()) is None


def test_a_client_that_takes_nothing_gets_the_text(client: FlaskClient) -> None:
    answer = client.get("/text")
    assert answer.text == TEXT
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["image", "events", "small", "stream", "part", "exact"])
def test_what_would_not_gain_is_left_alone(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/{path}", headers=BROWSER)
    assert "Content-Encoding" not in answer.headers
    assert "Vary" not in answer.headers


def test_nothing_is_compressed_twice(client: FlaskClient) -> None:
    assert client.get("/encoded", headers=BROWSER).text == TEXT


def test_etags_stay_right(client: FlaskClient) -> None:
    plain = client.get("/public").headers["ETag"]
    small = client.get("/public", headers=BROWSER).headers["ETag"]
    assert not plain.startswith("W/")
    assert small == f"W/{plain}"
    assert client.get("/weak", headers=BROWSER).headers["ETag"] == 'W/"1"'
    for tag, headers in ((small, BROWSER), (plain, {}), (small, {})):
        answer = client.get("/public", headers={**headers, "If-None-Match": tag})
        assert answer.status_code == 304
        assert not answer.data
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in answer.headers
