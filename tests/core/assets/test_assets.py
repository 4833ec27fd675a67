import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask, url_for

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.assets import build as building

IMMUTABLE = "public, max-age=31536000, immutable"


def static_url(app: Flask, filename: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=filename)


def test_built_file_has_a_content_hash(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
    source: Path,
) -> None:
    assert build().output.startswith("Built 2 files")
    app = make_site()
    path = static_url(app, "fonts/plain.woff2")
    assert path.startswith("/static/fonts/plain.")
    assert path != "/static/fonts/plain.woff2"
    response = app.test_client().get(path, buffered=True)
    assert response.data == b"a font"
    assert response.headers["Cache-Control"] == IMMUTABLE
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert static_url(app, "nowhere.css") == "/static/nowhere.css"
    (source / "fonts" / "plain.woff2").write_bytes(b"another font")
    build()
    assert static_url(make_site(), "fonts/plain.woff2") != path
    # Pages of an earlier release still find their file.
    assert make_site().test_client().get(path, buffered=True).data == b"a font"


@pytest.mark.usefixtures("source")
def test_other_names_are_not_cached(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
) -> None:
    build()
    client = make_site().test_client()
    for name in ("plain.woff2", "plain.0123456789ab.woff2"):
        response = client.get(f"/static/fonts/{name}", buffered=True)
        assert response.data == b"a font"
        assert response.headers["Cache-Control"] == "no-cache"
    for path in ("fonts/other.0123456789ab.woff2", "../.manifest.json", "nowhere.css"):
        assert client.get(f"/static/{path}").status_code == 404


def test_debug_mode_serves_source_files(
    make_site: Callable[..., Flask],
    build: Callable[[], Result],
    source: Path,
) -> None:
    build()
    app = make_site(DEBUG=True)
    (source / "site.css").write_text("p { color: red }")
    assert static_url(app, "site.css") == "/static/site.css"
    response = app.test_client().get("/static/site.css", buffered=True)
    assert response.text == "p { color: red }"


def test_missing_build_is_logged_once(
    make_site: Callable[..., Flask],
    read_logs: Callable[[], list[dict[str, Any]]],
    app: Flask,
) -> None:
    assert app.testing
    for site in (make_site(TESTING=True), make_site()):
        assert not read_logs()
        for _ in range(2):
            assert static_url(site, "site.css") == "/static/site.css"
    (record,) = read_logs()
    assert record["event"] == "static files are not built"


def test_all_files_of_the_application_are_built(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The files of Swagger UI are large, and compression has its own test.
    monkeypatch.setattr(building, "compress", lambda *_: {})
    settings = {"STATIC_ROOT": str(tmp_path / "public")}
    result = make_app(**settings).test_cli_runner().invoke(args=["assets", "build"])
    assert result.exit_code == 0, result.output
    client = make_app(**settings).test_client()
    paths = re.findall(r'"(/docs/swagger/[^"]+)"', client.get("/docs").text)
    assert len(paths) == 3
    for path in paths:
        response = client.get(path, buffered=True)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == IMMUTABLE


def test_invalid_static_root_is_a_settings_error(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="STATIC_ROOT: expected a folder"):
        make_app(STATIC_ROOT=__file__)
