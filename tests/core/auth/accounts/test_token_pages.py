import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from {{ cookiecutter.package_name }}.core.auth.accounts.models import UserSession
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow
from {{ cookiecutter.package_name }}.permissions import ROLES

from .conftest import API, EMAIL

TOKEN = re.compile(r"pat_[\w-]+")


def test_page_creates_and_revokes_a_token(
    app: Flask,
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
) -> None:
    role = next(iter(ROLES), "editor")
    scopes = sorted(ROLES.get(role, ()))
    create_user(EMAIL, role)
    browser = log_in()
    form = {"name": "script", "days": "30", "scopes": scopes}
    response = browser.post("/account/tokens", data=form)
    assert response.status_code == 200
    token = TOKEN.search(response.text)
    assert token
    page = browser.get("/account/tokens").text
    assert "script" in page
    assert token[0] not in page
    headers = {"Authorization": f"Bearer {token[0]}"}
    client = app.test_client()
    assert client.get(API, headers=headers).status_code == 200
    url = re.search(r"/account/tokens/\d+", page)
    assert url
    assert browser.post(url[0]).location == "/account/tokens"
    assert client.get(API, headers=headers).status_code == 401


@pytest.mark.usefixtures("ada")
def test_invalid_form_is_shown_again(log_in: Callable[..., FlaskClient]) -> None:
    form = {"name": "script", "days": "0", "scopes": "no:permission"}
    response = log_in().post("/account/tokens", data=form)
    assert response.status_code == 422
    response = log_in().post("/account/tokens", data=form | {"days": "1"})
    assert "There is no permission no:permission" in response.text


@pytest.mark.usefixtures("ada")
def test_page_needs_a_recent_password(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    browser = log_in()
    with app.app_context():
        long_ago = utcnow() - timedelta(hours=1)
        get_session().execute(update(UserSession).values(authenticated_at=long_ago))
        get_session().commit()
    page = browser.get("/account/tokens", headers={"Accept": "text/html"})
    location = page.location
    assert location == "/account/reauthenticate?next=/account/tokens"
