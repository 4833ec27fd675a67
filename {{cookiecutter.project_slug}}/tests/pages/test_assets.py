import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask, Response, url_for
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.pages.assets import find_version

FOR_EVER = "public, max-age=31536000, immutable"
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def address(app: Flask) -> str:
    """Where pages find the style."""
    with app.test_request_context():
        return url_for("static", filename="style.css")


def test_pages_name_the_version_of_a_file(client: FlaskClient, address: str) -> None:
    assert parse_qs(urlsplit(address).query)["v"]
    assert f'href="{address}"' in client.get("/").text


def test_a_version_of_a_file_is_kept_for_ever(client: FlaskClient, address: str) -> None:
    first = client.get(address, buffered=True)
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == FOR_EVER
    again = client.get(address, headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert (again.status_code, again.headers["Cache-Control"]) == (304, FOR_EVER)
    assert client.head(address, buffered=True).headers["Cache-Control"] == FOR_EVER


@pytest.mark.parametrize(
    "path", ["style.css", "style.css?v=", "style.css?v=0123456789abcdef", "none.css?v="]
)
def test_what_may_be_another_version_is_not(client: FlaskClient, path: str) -> None:
    response = client.get(f"/static/{path}", buffered=True)
    assert "immutable" not in response.headers["Cache-Control"]
    assert "max-age" not in response.headers["Cache-Control"]


def test_nobody_keeps_a_file_that_came_with_a_cookie(make_app: Callable[..., Flask]) -> None:
    app = make_app()

    @app.after_request
    def offer_a_cookie(response: Response) -> Response:
        response.set_cookie("name", "Ada")
        return response

    with app.test_request_context():
        address = url_for("static", filename="style.css")
    response = app.test_client().get(address, buffered=True)
    assert response.status_code == 200
    assert response.headers.getlist("Cache-Control") == ["private, no-cache"]


def test_pages_are_private(client: FlaskClient) -> None:
    for path in ("/", "/nowhere"):
        headers = client.get(path, headers=BROWSER).headers
        assert headers["Cache-Control"] == "private, no-cache"


def test_a_version_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "style.css"
    versions = []
    for number, text in enumerate(["a", "b", "a"]):
        file.write_text(text)
        # The clock of a file system may not tell two moments apart.
        os.utime(file, (number, number))
        versions.append(find_version(str(tmp_path), "style.css"))
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize("filename", ["none.css", ".", "../secret", "/etc/hosts"])
def test_what_is_no_file_has_no_version(tmp_path: Path, filename: str) -> None:
    folder = tmp_path / "static"
    folder.mkdir()
    (tmp_path / "secret").touch()
    assert find_version(str(folder), filename) is None
