import re
import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP

from .conftest import API, EMAIL, PASSWORD

CODE = re.compile(r"<code>(\w{5}-\w{5})</code>")
SECRET = re.compile(r'<code id="secret">(\w+)</code>')


@pytest.mark.usefixtures("ada")
def test_pages_set_up_and_use_an_app(
    app: Flask, log_in: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = log_in()
    page = browser.get("/account/totp")
    assert "data:image/svg+xml" in page.text
    secret = SECRET.search(page.text)
    assert secret
    totp = TOTP(secret[1])
    # The same secret is shown again after a wrong code.
    assert secret[0] in browser.post("/account/totp", data={"code": "000000"}).text
    page = browser.post("/account/totp", data={"code": totp.now()})
    codes = CODE.findall(page.text)
    assert len(codes) == 10
    assert "need a code" in browser.get("/account/totp").text

    other = app.test_client()
    response = other.post("/account/login", data={"email": EMAIL, "password": PASSWORD})
    assert response.location == "/account/second-factor?next=/account"
    assert other.get(response.location).status_code == 200
    assert other.post(response.location, data={"code": "000000"}).status_code == 401
    assert other.post(response.location, data={"code": codes[0]}).location == "/account"
    assert other.get(API).status_code == 200

    assert len(CODE.findall(browser.post("/account/recovery-codes").text)) == 10
    assert browser.post("/account/totp/remove").location == "/account"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert (
        browser.post("/account/login", data={"email": EMAIL, "password": PASSWORD}).location
        == "/account"
    )
