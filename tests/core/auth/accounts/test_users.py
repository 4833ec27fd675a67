from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from {{ cookiecutter.package_name }}.core.auth.accounts.models import User
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

from .conftest import API, COOKIE, EMAIL, PASSWORD, Mailbox, post_login, read

OTHER_PASSWORD = "seven lanterns in a cave"


def register(client: FlaskClient, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return client.post(f"{API}/register", json={"email": email, "password": password})


def confirm(client: FlaskClient, token: str, password: str = PASSWORD) -> int:
    json = {"token": token, "password": password}
    return client.post(f"{API}/confirm", json=json).status_code


def test_registration_confirmation_and_login(client: FlaskClient, mailbox: Mailbox) -> None:
    assert register(client).status_code == 202
    assert post_login(client).status_code == 403
    assert mailbox[-1][:2] == (EMAIL, "Confirm your address")
    assert confirm(client, mailbox.token) == 204
    response = post_login(client)
    assert response.status_code == 200
    assert response.json == read(client)
    assert read(client)["email"] == EMAIL


def test_confirmation_works_twice(client: FlaskClient, mailbox: Mailbox) -> None:
    register(client)
    for _ in range(2):
        assert confirm(client, mailbox.token) == 204


def test_registration_of_a_stranger_cannot_be_confirmed(
    client: FlaskClient, mailbox: Mailbox
) -> None:
    """The owner of the address opens the mail, as after a registration of their own."""
    register(client)
    register(client, password=OTHER_PASSWORD)
    assert confirm(client, mailbox.token) == 422
    assert post_login(client, password=OTHER_PASSWORD).status_code == 403
    # A link for a new password confirms the address, too.
    client.post(f"{API}/forgot-password", json={"email": EMAIL})
    json = {"token": mailbox.token, "password": PASSWORD}
    assert client.post(f"{API}/reset-password", json=json).status_code == 204
    assert post_login(client, password=OTHER_PASSWORD).status_code == 401
    assert post_login(client).status_code == 200


@pytest.mark.usefixtures("ada")
def test_registration_does_not_tell_known_addresses(client: FlaskClient, mailbox: Mailbox) -> None:
    known = register(client)
    unknown = register(client, "new@example.com")
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data)
    assert [subject for _, subject, _ in mailbox] == [
        "You have an account already",
        "Confirm your address",
    ]
    assert post_login(client).status_code == 200


def test_second_registration_replaces_an_unconfirmed_one(
    client: FlaskClient, mailbox: Mailbox
) -> None:
    register(client, password=OTHER_PASSWORD)
    stranger = mailbox.token
    register(client)
    assert confirm(client, stranger, OTHER_PASSWORD) == 422
    assert confirm(client, mailbox.token) == 204
    assert post_login(client, password=OTHER_PASSWORD).status_code == 401
    assert post_login(client).status_code == 200


@pytest.mark.usefixtures("mailbox")
def test_concurrent_registrations_create_one_account(app: Flask) -> None:
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda _: register(app.test_client()), range(4)))
    assert {(response.status_code, response.data) for response in responses} == {
        (202, responses[0].data)
    }
    with app.app_context():
        assert len(get_session().scalars(select(User)).all()) == 1


def test_closed_registration_returns_403(make_app: Callable[..., Flask]) -> None:
    client = make_app(REGISTRATION="false").test_client()
    assert register(client).status_code == 403


@pytest.mark.parametrize(
    "email", ["ADA@Example.com", " ada@example.com ", "ａｄａ@example.com", "ada＠example.com"]
)
@pytest.mark.usefixtures("ada")
def test_addresses_are_normalized(client: FlaskClient, email: str) -> None:
    assert post_login(client, email).status_code == 200


@pytest.mark.parametrize(
    "email",
    [
        # A Cyrillic letter, a dotless i, a zero-width space, a line break, no domain.
        "\u0430da@example.com",
        "ad\u0131@example.com",
        "ada\u200b@example.com",
        "ada@example.com\nBcc: all@example.com",
        "ada",
        "a" * 255 + "@example.com",
    ],
)
@pytest.mark.usefixtures("ada")
def test_lookalike_addresses_are_rejected(client: FlaskClient, email: str) -> None:
    for path in ("register", "login"):
        json = {"email": email, "password": PASSWORD}
        assert client.post(f"{API}/{path}", json=json).status_code == 422
    assert client.post(f"{API}/forgot-password", json={"email": email}).status_code == 422


@pytest.mark.usefixtures("ada")
def test_password_reset_changes_the_password_once(
    client: FlaskClient, mailbox: Mailbox, log_in: Callable[..., FlaskClient]
) -> None:
    logged_in = log_in()
    assert client.post(f"{API}/forgot-password", json={"email": EMAIL}).status_code == 202
    json = {"token": mailbox.token, "password": OTHER_PASSWORD}
    assert client.post(f"{API}/reset-password", json=json).status_code == 204
    assert mailbox[-1][1] == "Your password was changed"
    assert client.post(f"{API}/reset-password", json=json).status_code == 422
    assert post_login(client).status_code == 401
    assert post_login(client, password=OTHER_PASSWORD).status_code == 200
    assert logged_in.get(API).status_code == 401


@pytest.mark.usefixtures("ada")
def test_rejected_password_does_not_use_up_the_link(client: FlaskClient, mailbox: Mailbox) -> None:
    client.post(f"{API}/forgot-password", json={"email": EMAIL})
    json = {"token": mailbox.token, "password": "short"}
    assert client.post(f"{API}/reset-password", json=json).status_code == 422
    json["password"] = OTHER_PASSWORD
    assert client.post(f"{API}/reset-password", json=json).status_code == 204


@pytest.mark.usefixtures("ada")
def test_password_reset_does_not_tell_known_addresses(
    client: FlaskClient, mailbox: Mailbox
) -> None:
    known = client.post(f"{API}/forgot-password", json={"email": EMAIL})
    unknown = client.post(f"{API}/forgot-password", json={"email": "nobody@example.com"})
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data)
    assert [to for to, _, _ in mailbox] == [EMAIL]


@pytest.mark.usefixtures("ada")
def test_password_change_ends_other_sessions(
    log_in: Callable[..., FlaskClient], mailbox: Mailbox
) -> None:
    client, other = log_in(), log_in()
    stolen = client.get_cookie(COOKIE)
    json = {"current_password": PASSWORD, "password": OTHER_PASSWORD}
    assert client.put(f"{API}/password", json=json).status_code == 204
    assert client.get(API).status_code == 200
    assert other.get(API).status_code == 401
    assert mailbox[-1][1] == "Your password was changed"
    # The session of this browser has another token.
    assert stolen
    other.set_cookie(COOKIE, stolen.value)
    assert other.get(API).status_code == 401


@pytest.mark.usefixtures("ada")
def test_password_change_needs_the_current_password(log_in: Callable[..., FlaskClient]) -> None:
    json = {"current_password": "wrong", "password": OTHER_PASSWORD}
    response = log_in().put(f"{API}/password", json=json)
    assert response.status_code == 422
    assert '"field":"current_password"' in response.text


@pytest.mark.usefixtures("ada")
def test_guesses_of_the_current_password_are_limited(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(RATE_LIMIT_LOGIN_ACCOUNT="2/hour").test_client()
    assert post_login(client).status_code == 200
    json = {"current_password": "wrong", "password": OTHER_PASSWORD}
    codes = [client.put(f"{API}/password", json=json).status_code for _ in range(3)]
    assert codes == [422, 422, 429]


@pytest.mark.usefixtures("ada")
def test_address_change_needs_the_link_in_the_new_mailbox(
    client: FlaskClient,
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
    mailbox: Mailbox,
) -> None:
    json = {"email": "lovelace@example.com"}
    assert log_in().put(f"{API}/address", json=json).status_code == 202
    assert mailbox[-1][:2] == ("lovelace@example.com", "Confirm your new address")
    token = {"token": mailbox.token}
    # The owner of that mailbox opens the link, and is another person.
    assert client.post(f"{API}/change-address", json=token).status_code == 401
    create_user("grace@example.com")
    assert log_in("grace@example.com").post(f"{API}/change-address", json=token).status_code == 422
    assert post_login(client).status_code == 200
    assert client.post(f"{API}/change-address", json=token).status_code == 204
    assert mailbox[-1][:2] == (EMAIL, "Your address was changed")
    assert client.post(f"{API}/change-address", json=token).status_code == 422
    assert post_login(client).status_code == 401
    assert post_login(client, "lovelace@example.com").status_code == 200


@pytest.mark.usefixtures("ada")
def test_address_change_to_a_known_address_fails(
    create_user: Callable[..., int], log_in: Callable[..., FlaskClient], mailbox: Mailbox
) -> None:
    create_user("grace@example.com")
    client = log_in()
    assert client.put(f"{API}/address", json={"email": "grace@example.com"}).status_code == 202
    json = {"token": mailbox.token}
    assert client.post(f"{API}/change-address", json=json).status_code == 422
    assert read(client)["email"] == EMAIL


def test_disabled_users_get_no_mail(
    client: FlaskClient, create_user: Callable[..., int], mailbox: Mailbox
) -> None:
    create_user(disabled_at=utcnow())
    assert register(client).status_code == 202
    assert client.post(f"{API}/forgot-password", json={"email": EMAIL}).status_code == 202
    assert not mailbox


@pytest.mark.parametrize("password", ["x" * 257, "x" * 1_000_000])
@pytest.mark.usefixtures("ada")
def test_long_passwords_are_rejected_before_they_are_hashed(
    client: FlaskClient, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "{{ cookiecutter.package_name }}.core.auth.accounts.passwords.HASHER",
        None,
    )
    assert post_login(client, password=password).status_code in {413, 422}
    assert register(client, password=password).status_code in {413, 422}
