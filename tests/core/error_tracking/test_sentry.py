import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ
from typing import Any

import pytest
import sentry_sdk
import structlog
from flask import Flask, abort
from werkzeug.exceptions import Conflict

from {{ cookiecutter.package_name }}.config import SettingsError
# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.access import allow_anonymous
from {{ cookiecutter.package_name }}.core.auth import get_identity
# {% endif %}
from {{ cookiecutter.package_name }}.core.error_tracking.sentry import flush
# {% if cookiecutter.__tasks %}
from {{ cookiecutter.package_name }}.core.tasks.execution import log_job_failure
from {{ cookiecutter.package_name }}.core.tasks.jobs import JobError
# {% endif %}

SECRET = "personal-data"


class Sentry(ThreadingHTTPServer):
    """A server on loopback that stores the reports of Sentry's client."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[str] = []

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self.server_port}/1"

    def reports(self) -> list[Any]:
        """Return the reports until now."""
        flush()
        return [json.loads(body.splitlines()[2]) for body in self.bodies]


class Handler(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(gzip.decompress(body).decode())
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use no proxy, and remove the client of the process after the test."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        flush()
        server.shutdown()
        thread.join()


@pytest.fixture
def app_with_errors(make_app: Callable[..., Flask], sentry: Sentry) -> Flask:
    """An application whose views fail."""
    app = make_app(SENTRY_DSN=sentry.dsn, SENTRY_RELEASE="1.2.3", SENTRY_ENVIRONMENT="staging")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def crash(number: int) -> str:
        secret = SECRET
        # {% if cookiecutter.__auth %}
        get_identity()
        # {% endif %}
        raise ValueError(f"wrong number {number}\nin the row ({SECRET})" + secret[:0])

    def reject(status: int) -> str:
        abort(status)

    def handle() -> str:
        try:
            environ["cup"]
        except KeyError:
            structlog.get_logger().exception("cup is missing", cup=SECRET)
        logging.getLogger("library").error("plate %s is missing", 7)
        structlog.get_logger().warning("no report")
        return ""

    views: dict[str, Callable[..., Any]] = {
        "/crash/<int:number>": crash,
        "/reject/<int:status>": reject,
        "/handle": handle,
    }
    for path, view in views.items():
        # {% if cookiecutter.__auth %}
        allow_anonymous(view)
        # {% endif %}
        app.add_url_rule(path, view_func=view, methods=["GET", "POST"])
    return app


def test_unexpected_exception_is_one_report(app_with_errors: Flask, sentry: Sentry) -> None:
    client = app_with_errors.test_client()
    client.set_cookie("cookie", SECRET)
    response = client.post(
        f"/crash/7?token={SECRET}",
        json={"password": SECRET},
        headers={"Authorization": SECRET, "Sec-Fetch-Site": "same-origin"},
    )
    assert response.status_code == 500
    (report,) = sentry.reports()
    (exception,) = report["exception"]["values"]
    assert exception["type"] == "ValueError"
    assert exception["value"] == "wrong number 7"
    assert exception["stacktrace"]["frames"][-1]["function"] == "crash"
    assert report["transaction"] == "POST /crash/<int:number>"
    assert report["request"] == {"method": "POST", "url": "http://localhost/crash/7"}
    assert report["tags"]["request_id"] == response.headers["X-Request-ID"]
    assert report["release"] == "1.2.3"
    assert report["environment"] == "staging"
    assert report["contexts"]["trace"]["trace_id"]
    # {% if cookiecutter.__auth %}
    assert [*report["user"]] == ["id"]
    # {% endif %}
    # The lines of the source, which a test must contain, are the only place.
    del exception["stacktrace"]
    assert SECRET not in json.dumps(report)


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 503])
def test_http_errors_are_no_reports(app_with_errors: Flask, sentry: Sentry, status: int) -> None:
    assert app_with_errors.test_client().get(f"/reject/{status}").status_code == status
    assert app_with_errors.test_client().get("/nowhere").status_code == 404
    assert sentry.reports() == []


def test_error_lines_are_reports(app_with_errors: Flask, sentry: Sentry) -> None:
    app_with_errors.test_client().get("/handle")
    handled, foreign = sentry.reports()
    assert handled["message"] == "cup is missing"
    assert handled["exception"]["values"][0]["type"] == "KeyError"
    assert foreign["message"] == "plate 7 is missing"
    assert foreign["logger"] == "library"
    assert SECRET not in json.dumps(handled["tags"])
    assert "extra" not in handled


@pytest.mark.usefixtures("app_with_errors")
def test_exception_that_is_logged_twice_is_one_report(sentry: Sentry) -> None:
    error = Conflict()
    try:
        raise error
    except Conflict:
        structlog.get_logger().exception("first")
        structlog.get_logger().exception("second")
    assert len(sentry.reports()) == 1


@pytest.mark.usefixtures("app_with_errors")
def test_thread_that_ends_with_an_exception_is_a_report(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest would report it, too.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    (report,) = sentry.reports()
    assert report["exception"]["values"][0]["type"] == "ZeroDivisionError"


# {% if cookiecutter.__tasks %}
@pytest.mark.usefixtures("app_with_errors")
def test_failed_job_is_a_report_and_job_error_is_none(sentry: Sentry) -> None:
    log_job_failure(JobError("The file has no rows."))
    assert sentry.reports() == []
    log_job_failure(ValueError("wrong"))
    (report,) = sentry.reports()
    assert report["exception"]["values"][0]["value"] == "wrong"


# {% endif %}
def test_unreachable_service_delays_no_request(make_app: Callable[..., Flask]) -> None:
    """The memory is bounded, too: Sentry's client stores at most 100 reports."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        make_app(SENTRY_DSN=f"http://key@127.0.0.1:{silent.getsockname()[1]}/1")
        for number in range(150):
            structlog.get_logger().error(f"error {number}")
        transport = sentry_sdk.get_client().transport
        assert transport
        # The lines above have not waited for the service, which accepts nothing.
        assert not transport.is_healthy()


def test_without_dsn_nothing_is_imported() -> None:
    code = (
        "import sys\nfrom {{ cookiecutter.package_name }} import create_app\n"
        "create_app()\nassert not {'sentry_sdk', 'structlog_sentry'} & sys.modules.keys()"
    )
    variables = {"FLASK_DEBUG": "1", "PYTHONPATH": "src", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)


@pytest.mark.parametrize(
    "dsn", ["sentry.example.com", "https://sentry.example.com/1", "https://k@h/x"]
)
def test_malformed_dsn_is_rejected(make_app: Callable[..., Flask], dsn: str) -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN: expected the DSN of a project"):
        make_app(SENTRY_DSN=dsn)


def test_malformed_proxy_is_rejected(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy")
    with pytest.raises(SettingsError, match="HTTP_PROXY"):
        make_app(SENTRY_DSN="http://key@127.0.0.1:9/1")
