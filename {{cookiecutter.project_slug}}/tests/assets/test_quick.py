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
    """A client of a site, and the address of its style sheet."""
    build()
    app = make_site()
    # Nothing but what comes before Flask may answer.
    app.view_functions["static"] = lambda **_: ("", 404)
    with app.test_request_context():
        return app.test_client(), url_for("static", filename="site.css")


@pytest.mark.parametrize("encoding", DECODERS)
def test_a_client_gets_the_variant_that_it_takes(
    style: tuple[FlaskClient, str],
    encoding: str,
) -> None:
    client, path = style
    plain = client.get(path, buffered=True)
    assert "Content-Encoding" not in plain.headers
    assert plain.content_type == "text/css; charset=utf-8"
    answer = client.get(path, headers={"Accept-Encoding": f"{encoding}, nonsense"}, buffered=True)
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.content_length == len(answer.data) < len(plain.data)
    assert DECODERS[encoding](answer.data) == plain.data
    for headers in (plain.headers, answer.headers):
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["Vary"] == "Accept-Encoding"
        assert headers["Access-Control-Allow-Origin"] == "*"


def test_the_smallest_is_sent(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    sizes = {
        name: len(client.get(path, headers={"Accept-Encoding": name}, buffered=True).data)
        for name in DECODERS
    }
    answer = client.get(path, headers={"Accept-Encoding": "gzip, deflate, br, zstd"}, buffered=True)
    assert len(answer.data) == min(sizes.values())


def test_no_body_goes_to_those_who_have_it(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    answer = client.get(path, buffered=True)
    head = client.head(path)
    assert head.content_length == len(answer.data)
    assert not head.data
    same = client.get(path, headers={"If-None-Match": answer.headers["ETag"]}, buffered=True)
    assert same.status_code == 304
    assert not same.data


def test_the_rest_is_left_to_flask(style: tuple[FlaskClient, str]) -> None:
    client, path = style
    assert client.get(path, headers={"Range": "bytes=0-1"}, buffered=True).status_code == 404
    assert client.get("/static/site.css").status_code == 404
    assert client.post(path).status_code == 405
