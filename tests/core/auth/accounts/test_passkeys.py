from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core.auth.accounts import passkeys
from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    RecoveryCode,
    UserSession,
)
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

from .authenticator import UP, UV, Authenticator
from .conftest import API, COOKIE, EMAIL, Mailbox, post_login, read


def get_challenge(client: FlaskClient, path: str = "/login/passkey") -> str:
    body: Any = client.post(f"{API}{path}/options").json
    return str(body["options"]["challenge"])


def register(client: FlaskClient, device: Authenticator, **values: str) -> TestResponse:
    credential = device.create(get_challenge(client, "/passkeys"))
    return client.post(f"{API}/passkeys", json={"credential": credential, **values})


def log_in_with(client: FlaskClient, device: Authenticator) -> TestResponse:
    credential = device.get(get_challenge(client))
    return client.post(f"{API}/login/passkey", json={"credential": credential})


class Device(Authenticator):
    """A device with a passkey of the user, and the recovery codes of its registration."""

    codes: list[str]


@pytest.fixture
def device(ada: int, log_in: Callable[..., FlaskClient]) -> Device:
    """A device with a passkey of the user."""
    device = Device()
    response = register(log_in(), device, name="Phone")
    assert response.status_code == 201, response.text
    body: Any = response.json
    device.codes = body["recovery_codes"]
    return device


@pytest.fixture
def owner(app: Flask, device: Device) -> FlaskClient:
    """A client that is logged in with the passkey."""
    client = app.test_client()
    assert log_in_with(client, device).status_code == 200
    return client


def finish(client: FlaskClient, code: str) -> int:
    return client.post(f"{API}/login/factor", json={"code": code}).status_code


def test_passkey_logs_in_without_a_password(
    client: FlaskClient, device: Device, mailbox: Mailbox
) -> None:
    assert mailbox[-1][1] == "Your account has a new passkey"
    response = log_in_with(client, device)
    assert response.status_code == 200, response.text
    assert read(client)["email"] == EMAIL
    (row,) = read(client, "/passkeys")
    assert row["name"] == "Phone"
    assert row["used_at"]


def test_passkey_replaces_the_second_factor(client: FlaskClient, device: Authenticator) -> None:
    for _ in range(2):
        assert log_in_with(client, device).status_code == 200


def test_replayed_response_is_rejected(
    app: Flask, client: FlaskClient, device: Authenticator
) -> None:
    credential = device.get(get_challenge(client))
    cookie = client.get_cookie(COOKIE)
    assert cookie
    json = {"credential": credential}
    assert client.post(f"{API}/login/passkey", json=json).status_code == 200
    assert client.post(f"{API}/login/passkey", json=json).status_code == 401
    # Also with the cookie that has the challenge.
    thief = app.test_client()
    thief.set_cookie(COOKIE, cookie.value)
    assert thief.post(f"{API}/login/passkey", json=json).status_code == 401


def test_response_for_another_challenge_is_rejected(
    client: FlaskClient, device: Authenticator
) -> None:
    credential = device.get(get_challenge(client))
    get_challenge(client)
    response = client.post(f"{API}/login/passkey", json={"credential": credential})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "values",
    [
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"flags": UP},
        {"flags": UV},
        {"id": b"another"},
    ],
)
def test_response_of_another_site_or_without_verification_is_rejected(
    client: FlaskClient, device: Authenticator, values: dict[str, Any]
) -> None:
    vars(device).update(values)
    assert log_in_with(client, device).status_code == 401


def test_forged_signature_is_rejected(client: FlaskClient, device: Authenticator) -> None:
    device.key = Authenticator().key
    assert log_in_with(client, device).status_code == 401


def test_cloned_device_is_rejected(client: FlaskClient, device: Authenticator) -> None:
    device.count = 10
    assert log_in_with(client, device).status_code == 200
    device.count = 5
    assert log_in_with(client, device).status_code == 401


def test_challenge_expires(
    client: FlaskClient, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = device.get(get_challenge(client))
    monkeypatch.setattr(passkeys, "MAX_AGE_MS", -1)
    response = client.post(f"{API}/login/passkey", json={"credential": credential})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "credential",
    [{}, {"rawId": 1}, {"rawId": "é"}, {"id": "AA", "rawId": "AA", "response": []}],
)
@pytest.mark.usefixtures("device")
def test_malformed_response_is_rejected(client: FlaskClient, credential: dict[str, Any]) -> None:
    get_challenge(client)
    json = {"credential": credential}
    assert client.post(f"{API}/login/passkey", json=json).status_code == 401


def test_malformed_members_are_rejected(client: FlaskClient, device: Authenticator) -> None:
    credential = device.get(get_challenge(client))
    for member in [*credential["response"]]:
        for value in ("", "AAAA", 1, None):
            broken = device.get(get_challenge(client))
            broken["response"][member] = value
            response = client.post(f"{API}/login/passkey", json={"credential": broken})
            assert response.status_code == 401


@pytest.mark.usefixtures("ada")
def test_malformed_passkey_is_not_registered(log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    assert client.post(f"{API}/passkeys", json={"credential": {}}).status_code == 401
    for device in (Authenticator(origin="https://evil.example"), Authenticator(host="evil")):
        assert register(client, device).status_code == 422
    device = Authenticator()
    device.flags = UP
    assert register(client, device).status_code == 422
    get_challenge(client, "/passkeys")
    assert client.post(f"{API}/passkeys", json={"credential": {}}).status_code == 422


def test_passkey_belongs_to_one_user(
    device: Device,
    owner: FlaskClient,
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
) -> None:
    create_user("grace@example.com")
    client = log_in("grace@example.com")
    assert register(client, device).status_code == 422
    (row,) = read(owner, "/passkeys")
    assert client.delete(f"{API}/passkeys/{row['id']}").status_code == 404


def test_removed_passkey_is_rejected(
    client: FlaskClient, device: Device, owner: FlaskClient
) -> None:
    (row,) = read(owner, "/passkeys")
    assert owner.delete(f"{API}/passkeys/{row['id']}").status_code == 204
    assert log_in_with(client, device).status_code == 401
    # The password alone is enough again, and the codes are of no use.
    assert post_login(client).status_code == 200
    assert read(client, "/passkeys") == []


def test_disabled_user_cannot_log_in(
    app: Flask, client: FlaskClient, device: Authenticator
) -> None:
    app.test_cli_runner().invoke(args=["users", "disable", EMAIL])
    assert log_in_with(client, device).status_code == 401


@pytest.mark.usefixtures("ada")
def test_new_passkey_needs_a_recent_login(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    with app.app_context():
        long_ago = utcnow() - timedelta(hours=1)
        get_session().execute(update(UserSession).values(authenticated_at=long_ago))
        get_session().commit()
    assert client.post(f"{API}/passkeys/options").status_code == 403


def test_number_of_passkeys_is_limited(owner: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MAX_PASSKEYS", 1)
    assert register(owner, Authenticator()).status_code == 422


def test_password_needs_the_passkey_or_a_recovery_code(
    app: Flask, client: FlaskClient, device: Device
) -> None:
    response = post_login(client)
    assert response.status_code == 202
    assert response.json == {"factors": ["passkey", "recovery_code"]}
    assert client.get(API).status_code == 401
    assert finish(client, "000000") == 401
    assert finish(client, "abcde-fghjk") == 401
    assert client.get(API).status_code == 401
    assert log_in_with(client, device).status_code == 200
    assert read(client)["email"] == EMAIL

    other = app.test_client()
    post_login(other)
    assert finish(other, device.codes[0]) == 200
    assert other.get(API).status_code == 200
    third = app.test_client()
    post_login(third)
    assert finish(third, device.codes[0]) == 401


def test_second_passkey_leaves_the_recovery_codes(
    client: FlaskClient, device: Device, owner: FlaskClient
) -> None:
    second = register(owner, Authenticator())
    body: Any = second.json
    assert body["recovery_codes"] == []
    rows = read(owner, "/passkeys")
    assert owner.delete(f"{API}/passkeys/{rows[1]['id']}").status_code == 204
    assert post_login(client).status_code == 202
    assert finish(client, device.codes[0]) == 200


def test_removed_app_leaves_the_codes_of_the_passkey(
    client: FlaskClient, owner: FlaskClient
) -> None:
    started: Any = owner.post(f"{API}/totp").json
    code = TOTP(started["secret"]).now()
    enrolled: Any = owner.post(f"{API}/totp/confirm", json={"code": code}).json
    response = post_login(client)
    assert response.json == {"factors": ["passkey", "totp", "recovery_code"]}
    assert owner.delete(f"{API}/totp").status_code == 204
    assert post_login(client).json == {"factors": ["passkey", "recovery_code"]}
    assert finish(client, enrolled["codes"][0]) == 200


@pytest.mark.usefixtures("device")
def test_command_removes_lost_passkeys(app: Flask, client: FlaskClient) -> None:
    result = app.test_cli_runner().invoke(args=["users", "remove-factor", EMAIL])
    assert result.exit_code == 0, result.output
    assert post_login(client).status_code == 200
    with app.app_context():
        assert not get_session().scalars(select(RecoveryCode)).all()
