import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.access import requires
from {{ cookiecutter.package_name }}.core.auth import fresh_login_required

PAGE = {"Accept": "text/html"}


@pytest.fixture
def browser(make_browser: Callable[..., Any]) -> Any:
    """A browser of an application with a sensitive page."""
    browser = make_browser(REAUTHENTICATION_TIMEOUT="600")
    app: Flask = browser.app

    @app.route("/sensitive", methods=["GET", "POST"])
    @requires()
    @fresh_login_required
    def sensitive() -> str:
        return "sensitive"

    return browser


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


def test_recent_login_is_enough(browser: Any) -> None:
    browser.log_in(auth_time=ago(500))
    assert browser.get("/sensitive").text == "sensitive"


@pytest.mark.parametrize("auth_time", [None, ago(700), [], True, -1])
def test_old_or_unknown_login_is_not_enough(browser: Any, auth_time: Any) -> None:
    """Without the claim the user may have been logged in at the provider for long."""
    browser.log_in(auth_time=auth_time)
    assert browser.get("/private").status_code == 200
    response = browser.get("/sensitive")
    assert response.status_code == 403
    assert "/login/main?fresh=1" in response.get_json()["detail"]
    assert browser.post("/sensitive").status_code == 403


def test_browser_logs_in_again_and_returns(browser: Any) -> None:
    browser.log_in(auth_time=ago(700))
    response = browser.get("/sensitive?a=1", headers=PAGE)
    assert response.location == "/login/main?next=/sensitive?a%3D1&fresh=1"
    response = browser.get(response.location)
    query = dict(parse_qsl(urlsplit(response.location).query))
    assert (query["prompt"], query["max_age"]) == ("login", "0")
    callback = browser.provider.authorize(response.location, auth_time=ago(0))
    response = browser.get(callback)
    assert response.location == "/sensitive?a=1"
    assert browser.get(response.location).text == "sensitive"


@pytest.mark.parametrize("auth_time", [None, ago(60)])
def test_provider_must_have_asked_again(browser: Any, auth_time: Any) -> None:
    """The parameters of the request pass the browser, which may remove them."""
    browser.log_in(auth_time=ago(700))
    response = browser.log_in("/login/main?fresh=1", auth_time=auth_time)
    assert "(login_not_fresh)" in response.get_json()["detail"]
    assert browser.get("/sensitive").status_code == 403


def test_userinfo_has_no_authentication_time(browser: Any) -> None:
    """It is not signed, and it is about the access token, not about the login."""
    browser.provider.metadata = {"userinfo_endpoint": f"{browser.provider.issuer}/userinfo"}
    browser.provider.userinfo = {"sub": "ada", "auth_time": ago(0)}
    browser.log_in()
    assert browser.get("/sensitive").status_code == 403


def test_authentication_time_in_the_future_does_not_prolong(
    browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in(auth_time=ago(-9000))
    assert browser.get("/sensitive").status_code == 200
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 700)
    assert browser.get("/sensitive").status_code == 403


def test_anonymous_request_is_sent_to_the_login(browser: Any) -> None:
    assert browser.get("/sensitive").status_code == 401
    assert browser.get("/sensitive", headers=PAGE).location == "/login?next=/sensitive"


def test_login_of_development_is_recent(make_browser: Callable[..., Any]) -> None:
    browser = make_browser(OIDC_ISSUER="development:")
    browser.app.add_url_rule("/s", view_func=requires()(fresh_login_required(lambda: "s")))
    browser.get("/login/main")
    assert browser.get("/s").text == "s"
