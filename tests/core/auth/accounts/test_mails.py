from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.auth.accounts import mails

from .conftest import API, EMAIL, Mailbox


@pytest.mark.usefixtures("ada")
def test_mails_to_an_address_are_limited(make_app: Callable[..., Flask], mailbox: Mailbox) -> None:
    client = make_app(RATE_LIMIT_ACCOUNT_MAILS="2/hour").test_client()
    for _ in range(5):
        response = client.post(f"{API}/forgot-password", json={"email": EMAIL})
        assert response.status_code == 202
    assert len(mailbox) == 2


@pytest.mark.usefixtures("ada")
def test_link_has_the_host_of_the_request(client: FlaskClient, mailbox: Mailbox) -> None:
    client.post(f"{API}/forgot-password", json={"email": EMAIL})
    assert "http://localhost/account/reset-password?token=" in mailbox[-1][2]


@pytest.mark.usefixtures("ada")
def test_host_of_an_attacker_is_rejected(client: FlaskClient, mailbox: Mailbox) -> None:
    response = client.post(
        f"{API}/forgot-password", json={"email": EMAIL}, headers={"Host": "evil.example"}
    )
    assert response.status_code == 400
    assert not mailbox


# {% if cookiecutter.task_queue == "none" %}
@pytest.mark.usefixtures("ada")
def test_unreachable_mail_server_is_logged(
    app: Flask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: str) -> None:
        raise ConnectionError("no mail today")

    monkeypatch.setattr(mails, "send_mail", fail)
    mails.send_in_thread(app, "reset-password", EMAIL, "http://localhost")
    assert "no mail today" in capsys.readouterr().out


# {% endif %}
@pytest.mark.parametrize("kind", ["reset-password", "password-changed", "registration"])
def test_unknown_address_gets_no_mail(app: Flask, mailbox: Mailbox, kind: str) -> None:
    with app.app_context():
        mails.send_account_mail(kind, "nobody@example.com", "http://localhost")
    assert not mailbox
