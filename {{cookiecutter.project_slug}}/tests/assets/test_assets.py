import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask, url_for

from {{ cookiecutter.package_name }}.assets import build as building

FOR_EVER = "public, max-age=31536000, immutable"


def address(app: Flask, filename: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=filename)


def test_what_was_built_is_named_after_what_is_in_it(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
    source: Path,
) -> None:
    assert build().output.startswith("Built 2 files")
    app = make_site()
    path = address(app, "fonts/plain.woff2")
    assert path.startswith("/static/fonts/plain.")
    assert path != "/static/fonts/plain.woff2"
    answer = app.test_client().get(path, buffered=True)
    assert answer.data == b"a font"
    assert answer.headers["Cache-Control"] == FOR_EVER
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert address(app, "nowhere.css") == "/static/nowhere.css"
    (source / "fonts" / "plain.woff2").write_bytes(b"another font")
    build()
    assert address(make_site(), "fonts/plain.woff2") != path
    # Pages of an earlier release still find theirs.
    assert make_site().test_client().get(path, buffered=True).data == b"a font"


@pytest.mark.usefixtures("source")
def test_plain_names_and_names_of_other_builds_are_not_kept(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
) -> None:
    build()
    client = make_site().test_client()
    for name in ("plain.woff2", "plain.0123456789ab.woff2"):
        answer = client.get(f"/static/fonts/{name}", buffered=True)
        assert answer.data == b"a font"
        assert answer.headers["Cache-Control"] == "no-cache"
    for path in ("fonts/other.0123456789ab.woff2", "../.manifest.json", "nowhere.css"):
        assert client.get(f"/static/{path}").status_code == 404


def test_debug_mode_takes_the_sources(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
    source: Path,
) -> None:
    build()
    app = make_site(DEBUG=True)
    (source / "site.css").write_text("p { color: red }")
    assert address(app, "site.css") == "/static/site.css"
    answer = app.test_client().get("/static/site.css", buffered=True)
    assert answer.text == "p { color: red }"


def test_a_missing_build_is_told(
    make_site: Callable[..., Flask],
    logged: Callable[[], list[dict[str, Any]]],
    app: Flask,
) -> None:
    assert app.testing
    for site in (make_site(TESTING=True), make_site()):
        assert not logged()
        for _ in range(2):
            assert address(site, "site.css") == "/static/site.css"
    (record,) = logged()
    assert record["event"] == "static files are not built"


def test_the_application_is_built_whole(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The files of others are large; compression has a test of its own.
    monkeypatch.setattr(building, "compress", lambda *_: {})
    settings = {"STATIC_ROOT": str(tmp_path / "public")}
    result = make_app(**settings).test_cli_runner().invoke(args=["assets", "build"])
    assert result.exit_code == 0, result.output
    client = make_app(**settings).test_client()
    paths = re.findall(r'"(/docs/swagger/[^"]+)"', client.get("/docs").text)
    assert len(paths) == 3
    for path in paths:
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == FOR_EVER
