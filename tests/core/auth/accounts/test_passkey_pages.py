from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    Passkey,
    UserSession,
)
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

from .conftest import EMAIL, PASSWORD


def add_passkey(app: Flask, user_id: int) -> int:
    with app.app_context():
        row = Passkey(
            user_id=user_id,
            name="My phone",
            credential_hash="hash",
            credential_id="id",
            public_key="key",
            sign_count=0,
        )
        get_session().add(row)
        get_session().commit()
        return row.id


def test_page_lists_and_removes_passkeys(
    app: Flask, ada: int, log_in: Callable[..., FlaskClient]
) -> None:
    browser = log_in()
    passkey_id = add_passkey(app, ada)
    assert "My phone" in browser.get("/account/passkeys").text
    assert browser.post(f"/account/passkeys/{passkey_id}").location == "/account/passkeys"
    assert "My phone" not in browser.get("/account/passkeys").text


def test_second_factor_page_offers_the_passkey(
    app: Flask, ada: int, client: FlaskClient, log_in: Callable[..., FlaskClient]
) -> None:
    credentials = {"email": EMAIL, "password": PASSWORD}
    assert client.post("/account/login", data=credentials).location == "/account"
    add_passkey(app, ada)
    other = app.test_client()
    response = other.post("/account/login", data=credentials)
    assert response.location == "/account/second-factor?next=/account"
    page = other.get(response.location).text
    assert "Use a passkey" in page
    assert "authenticator app" not in page
    assert "Use a passkey" not in client.get("/account/second-factor").text


def test_script_is_served(client: FlaskClient) -> None:
    with client.get("/account/static/passkeys.js") as response:
        assert response.status_code == 200
    assert "/account/static/passkeys" in client.get("/account/login").text


@pytest.mark.usefixtures("ada")
def test_page_needs_a_recent_password(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    browser = log_in()
    with app.app_context():
        long_ago = utcnow() - timedelta(hours=1)
        get_session().execute(update(UserSession).values(authenticated_at=long_ago))
        get_session().commit()
    response = browser.get("/account/passkeys", headers={"Accept": "text/html"})
    location = response.location
    assert location == "/account/reauthenticate?next=/account/passkeys"
