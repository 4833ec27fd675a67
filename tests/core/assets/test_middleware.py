import gzip
from collections.abc import Callable

import brotli
import pytest
import zstandard
from click.testing import Result
from flask import Flask, url_for
from flask.testing import FlaskClient

DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstandard.decompress}


@pytest.fixture
def style(make_site: Callable[..., Flask], build: Callable[[], Result]) -> tuple[FlaskClient, str]:
    """A client of a site, and the URL of its style sheet."""
    build()
    app = make_site()
    # Only the middleware may respond.
    app.view_functions["static"] = lambda **_: ("", 404)
    with app.test_request_context():
        return app.test_client(), url_for("static", filename="site.css")


@pytest.mark.parametrize("encoding", DECODERS)
def test_accepted_encoding_is_sent(
    style: tuple[FlaskClient, str],
    encoding: str,
) -> None:
    client, path = style
    plain = client.get(path, buffered=True)
    assert "Content-Encoding" not in plain.headers
    assert plain.content_type == "text/css; charset=utf-8"
    response = client.get(path, headers={"Accept-Encoding": f"{encoding}, nonsense"}, buffered=True)
    assert response.headers["Content-Encoding"] == encoding
    assert response.content_length == len(response.data) < len(plain.data)
    assert DECODERS[encoding](response.data) == plain.data
    for headers in (plain.headers, response.headers):
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["Vary"] == "Accept-Encoding"
        assert headers["Access-Control-Allow-Origin"] == "*"


def test_smallest_variant_is_sent(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    sizes = {
        name: len(client.get(path, headers={"Accept-Encoding": name}, buffered=True).data)
        for name in DECODERS
    }
    headers = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    response = client.get(path, headers=headers, buffered=True)
    assert len(response.data) == min(sizes.values())


def test_unchanged_file_returns_304(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    response = client.get(path, buffered=True)
    head = client.head(path)
    assert head.content_length == len(response.data)
    assert not head.data
    same = client.get(path, headers={"If-None-Match": response.headers["ETag"]}, buffered=True)
    assert same.status_code == 304
    assert not same.data


def test_other_requests_are_left_to_flask(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    assert client.get(path, headers={"Range": "bytes=0-1"}, buffered=True).status_code == 404
    assert client.get("/static/site.css").status_code == 404
    assert client.post(path).status_code == 405
