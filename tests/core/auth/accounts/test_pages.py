from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core.auth.accounts.models import UserSession
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

from .conftest import EMAIL, PASSWORD, Mailbox, read

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}
OTHER_PASSWORD = "seven lanterns in a cave"


@pytest.fixture
def browser(client: FlaskClient) -> FlaskClient:
    """A client with the headers of a browser."""
    client.environ_base |= {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in BROWSER.items()
    }
    return client


def send(browser: FlaskClient, path: str, **form: str) -> TestResponse:
    return browser.post(f"/account{path}", data=form)


def test_all_forms_in_order(browser: FlaskClient, mailbox: Mailbox) -> None:
    assert send(browser, "/register", **CREDENTIALS).location == "/account/login"
    page = browser.get(f"/account/confirm?token={mailbox.token}")
    assert mailbox.token in page.text
    form = {"token": mailbox.token, "password": PASSWORD}
    assert send(browser, "/confirm", **form).location == "/account"
    overview = browser.get("/account")
    assert "Your address is confirmed" in overview.text
    assert EMAIL in overview.text
    assert "this browser" in overview.text
    form = {"current_password": PASSWORD, "password": OTHER_PASSWORD}
    assert send(browser, "/password", **form).location == "/account"
    response = send(browser, "/logout")
    assert response.location == "/account/login"
    assert response.headers["Clear-Site-Data"]
    assert browser.get("/account").location == "/account/login?next=/account"
    assert send(browser, "/forgot-password", email=EMAIL).status_code == 303
    form = {"token": mailbox.token, "password": PASSWORD}
    assert send(browser, "/reset-password", **form).location == "/account/login"
    assert send(browser, "/login", **CREDENTIALS).location == "/account"
    assert send(browser, "/address", email="new@example.com").location == "/account"
    assert send(browser, "/change-address", token=mailbox.token).location == "/account"
    assert "new@example.com" in browser.get("/account").text


@pytest.mark.parametrize(
    ("path", "location"),
    [("password", "/account/login?next=/account/password"), ("logout", None)],
)
def test_form_of_an_ended_session_leads_to_the_login(
    browser: FlaskClient, path: str, location: str | None
) -> None:
    """After the login the browser opens the page of the form, if there is one."""
    response = browser.post(f"/account/{path}")
    assert response.location == location
    assert response.status_code == (303 if location else 401)


@pytest.mark.parametrize("path", ["login", "register", "forgot-password", "reset-password?token=x"])
def test_pages_are_private(browser: FlaskClient, path: str) -> None:
    response = browser.get(f"/account/{path}")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.usefixtures("ada")
def test_wrong_password_shows_the_form_again(browser: FlaskClient) -> None:
    response = send(browser, "/login", email=EMAIL, password="a wrong one")
    assert response.status_code == 401
    assert "The address or the password is wrong." in response.text
    assert EMAIL in response.text
    assert "a wrong one" not in response.text


def test_invalid_fields_have_messages(browser: FlaskClient) -> None:
    response = send(browser, "/register", email="ada", password="short")
    assert response.status_code == 422
    assert "Enter an e-mail address" in response.text
    response = send(browser, "/register", email=EMAIL, password="short")
    assert "at least 12 characters" in response.text
    response = send(browser, "/confirm", token="forged", password=PASSWORD)
    assert "not valid any more" in response.text


def test_values_are_escaped(browser: FlaskClient) -> None:
    response = send(browser, "/login", email='"><script>', password="x")
    assert "<script>" not in response.text


@pytest.mark.usefixtures("ada")
def test_login_returns_to_the_page(browser: FlaskClient) -> None:
    response = browser.get("/account/password?a=b")
    assert response.location == "/account/login?next=/account/password?a%3Db"
    assert browser.post(response.location, data=CREDENTIALS).location == "/account/password?a=b"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/\n/evil.example",
        "",
    ],
)
@pytest.mark.usefixtures("ada")
def test_redirects_stay_on_this_site(browser: FlaskClient, target: str) -> None:
    path = f"/account/login?next={quote(target)}"
    assert browser.post(path, data=CREDENTIALS).location == "/account"


@pytest.mark.usefixtures("ada")
def test_other_sites_cannot_send_forms(client: FlaskClient) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        response = client.post("/account/login", data=CREDENTIALS, headers=headers)
        assert response.status_code == 403
        assert "Set-Cookie" not in response.headers


@pytest.mark.usefixtures("ada")
def test_old_login_needs_the_password_again(app: Flask, browser: FlaskClient) -> None:
    send(browser, "/login", **CREDENTIALS)
    with app.app_context():
        get_session().execute(
            update(UserSession).values(authenticated_at=utcnow() - timedelta(hours=1))
        )
        get_session().commit()
    response = browser.get("/account/address")
    assert response.location == "/account/reauthenticate?next=/account/address"
    assert browser.get(response.location).status_code == 200
    assert browser.post(response.location, data={"password": "wrong"}).status_code == 422
    response = browser.post(response.location, data={"password": PASSWORD})
    assert response.location == "/account/address"
    assert browser.get("/account/address").status_code == 200


@pytest.mark.usefixtures("ada")
def test_sessions_end_by_their_buttons(
    browser: FlaskClient, log_in: Callable[..., FlaskClient]
) -> None:
    other, third = log_in(), log_in()
    send(browser, "/login", **CREDENTIALS)
    rows = read(browser, "/sessions")
    oldest = min(row["id"] for row in rows)
    assert send(browser, f"/sessions/{oldest}").location == "/account"
    assert other.get("/api/v1/account").status_code == 401
    assert send(browser, "/sessions").location == "/account/login"
    assert third.get("/api/v1/account").status_code == 401


def test_navigation_has_login_or_account(
    browser: FlaskClient, log_in: Callable[..., FlaskClient], ada: int
) -> None:
    assert ada
    home = browser.get("/")
    assert 'href="/account/login">Log in</a>' in home.text
    assert "Set-Cookie" not in home.headers
    home = log_in().get("/")
    assert f'title="{EMAIL}">Account</a>' in home.text
    assert "Log in" not in home.text


def test_api_clients_get_401(client: FlaskClient) -> None:
    response = client.get("/account", headers={"Accept": "application/json"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
