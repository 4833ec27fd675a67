import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import structlog
from flask import Flask, render_template_string

from {{ cookiecutter.package_name }}.core import debug_panel
from {{ cookiecutter.package_name }}.core.debug_panel.record import (
    MAX_ROWS,
    MAX_TEXT,
)

# Creates an application without debug mode, and one with it.
IMPORTED = """
import os
import sys
from {{ cookiecutter.package_name }} import create_app
for mode in ("0", "1"):
    os.environ["FLASK_DEBUG"] = mode
    create_app()
    print(any("debug_panel" in name for name in sys.modules))
"""


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application in debug mode, with a view for each test."""
    app = make_app(FLASK_DEBUG="1")

    @app.get("/page/<int:lines>")
    def page(lines: int) -> str:
        for number in range(lines):
            structlog.get_logger().warning("native", number=number, long="x" * 2 * MAX_TEXT)
        logging.getLogger("library").warning("foreign")
        return render_template_string("<p>page</p>")

    @app.get("/error")
    def error() -> str:
        try:
            raise ValueError("a reason")
        except ValueError:
            structlog.get_logger().exception("failed")
        return ""

    for view in (page, error):
        vars(view)["access_rule"] = None
    return app


def show(app: Flask, path: str) -> str:
    """Request a path, and return the page about that request."""
    client = app.test_client()
    return client.get(client.get(path).headers["X-Debug-URL"]).text


def test_page_shows_template_and_log_lines_of_request(app: Flask) -> None:
    page = show(app, "/page/1")
    texts = ("GET /page/1", "Status 200", "a string", "native", "number=0", "foreign", "library")
    assert [text for text in texts if text not in page] == []


def test_page_shows_traceback_that_was_logged(app: Flask) -> None:
    assert "ValueError: a reason" in show(app, "/error")


def test_rows_and_texts_are_limited(app: Flask) -> None:
    page = show(app, f"/page/{MAX_ROWS + 9}")
    # The last two lines of the log are those of the library and of the request.
    assert f"{MAX_ROWS + 11}, of which {MAX_ROWS} are shown" in page
    assert len(page) < MAX_ROWS * (MAX_TEXT + 500)


def test_list_has_last_requests_only(app: Flask) -> None:
    client = app.test_client()
    first = client.get("/page/1").headers["X-Debug-URL"]
    for _ in range(debug_panel.MAX_REQUESTS):
        newest = client.get("/nowhere").headers["X-Debug-URL"]
    page = client.get("/debug/requests").text
    assert page.count("/nowhere") == debug_panel.MAX_REQUESTS
    assert newest in page
    assert client.get(first).status_code == 404


@pytest.mark.parametrize(
    "path", ["/health/live", "/debug/requests", "/docs/swagger/swagger-ui.css"]
)
def test_other_requests_are_not_recorded(app: Flask, path: str) -> None:
    with app.test_client().get(path) as response:
        assert response.status_code == 200
        assert "X-Debug-URL" not in response.headers
    assert "None yet." in app.test_client().get("/debug/requests").text


def test_exception_that_the_debugger_shows_is_recorded(app: Flask) -> None:
    app.add_url_rule("/crash", view_func=lambda: str(1 / 0))
    vars(app.view_functions["<lambda>"])["access_rule"] = None
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/crash")
    (record,) = app.extensions["debug_panel"]
    assert (record.path, record.status) == ("/crash", 500)


def test_pages_fit_the_content_security_policy(app: Flask) -> None:
    page = show(app, "/page/1")
    assert not any(word in page for word in ("<script", "<style", "style=", "onclick"))
    with app.test_client().get("/debug/debug_panel.css") as response:
        assert response.mimetype == "text/css"


def test_url_has_prefix(make_app: Callable[..., Flask]) -> None:
    client = make_app(FLASK_DEBUG="1", URL_PREFIX="/shop").test_client()
    assert client.get("/shop/nowhere").headers["X-Debug-URL"].startswith("/shop/debug/requests/")


def test_panel_is_missing_without_debug_mode(make_app: Callable[..., Flask]) -> None:
    client = make_app(FLASK_DEBUG="0").test_client()
    assert "X-Debug-URL" not in client.get("/").headers
    assert client.get("/debug/requests").status_code == 404


def test_production_does_not_import_the_panel() -> None:
    variables = {"FLASK_TESTING": "1", "PYTHONPATH": "src"}
    command = [sys.executable, "-c", IMPORTED]
    result = subprocess.run(command, check=True, env=variables, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "True"]
