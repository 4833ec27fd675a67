import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.access import allow_anonymous
from {{ cookiecutter.package_name }}.core.auth import sessions

SITE = "https://localhost"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Function that advances the time."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


@pytest.fixture
def make_client(make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    """Function that creates a client of an application with a login."""

    def make(**variables: str) -> FlaskClient:
        app = make_app(SESSION_IDLE_TIMEOUT="1000", SESSION_TIMEOUT="3000", **variables)

        @app.get("/start")
        @allow_anonymous
        def start() -> str:
            sessions.start(name="Ada")
            return ""

        @app.get("/name")
        @allow_anonymous
        def name() -> str:
            return str(session.get("name"))

        @app.get("/plant")
        @allow_anonymous
        def plant() -> str:
            session["planted"] = True
            return ""

        @app.get("/planted")
        @allow_anonymous
        def planted() -> str:
            return str(session.get("planted"))

        @app.get("/other")
        @allow_anonymous
        def other() -> str:
            return ""

        return app.test_client()

    return make


def get(client: FlaskClient, path: str) -> Any:
    return client.get(path, base_url=SITE)


def test_idle_session_ends(make_client: Any, clock: Any) -> None:
    client = make_client()
    get(client, "/start")
    clock(900)
    assert get(client, "/name").text == "Ada"
    clock(900)
    assert get(client, "/name").text == "Ada"
    clock(1001)
    assert get(client, "/name").text == "None"


def test_session_ends_at_absolute_timeout(make_client: Any, clock: Any) -> None:
    client = make_client()
    get(client, "/start")
    for _ in range(4):
        clock(700)
        assert get(client, "/name").text == "Ada"
    clock(300)
    response = get(client, "/name")
    assert response.text == "None"
    # The browser deletes the cookie.
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert "Set-Cookie" not in get(client, "/name").headers


def test_cookie_is_renewed_rarely(make_client: Any, clock: Any) -> None:
    client = make_client()
    get(client, "/start")
    clock(99)
    assert "Set-Cookie" not in get(client, "/name").headers
    clock(2)
    # A response that does not use the session leaves it alone.
    assert "Set-Cookie" not in get(client, "/other").headers
    assert "Set-Cookie" in get(client, "/name").headers
    assert "Set-Cookie" not in get(client, "/name").headers


def test_start_discards_former_session(make_client: Any) -> None:
    client = make_client()
    get(client, "/plant")
    assert get(client, "/planted").text == "True"
    get(client, "/start")
    assert get(client, "/planted").text == "None"


def test_forged_cookie_is_ignored(make_client: Any) -> None:
    client = make_client()
    get(client, "/start")
    cookie = client.get_cookie("__Host-session")
    payload, _, signature = cookie.value.partition(".")
    for value in (f"{payload}A.{signature}", f"{payload}.", "", "."):
        client.set_cookie("__Host-session", value, domain="localhost", secure=True)
        assert get(client, "/name").text == "None"


@pytest.mark.parametrize(
    ("variables", "name", "path"),
    [
        ({}, "__Host-session", "/"),
        ({"URL_PREFIX": "/shop"}, "__Secure-session", "/shop"),
        ({"FLASK_DEBUG": "1"}, "session", "/"),
    ],
)
def test_cookie_has_prefix(
    make_client: Any, variables: dict[str, str], name: str, path: str
) -> None:
    header = get(make_client(**variables), "/start").headers["Set-Cookie"]
    assert header.startswith(f"{name}=")
    assert f"Path={path}" in header
    assert ("Secure" in header.partition(";")[2]) == (name != "session")
