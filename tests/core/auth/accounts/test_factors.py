import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP
from sqlalchemy import select

from {{ cookiecutter.package_name }}.core.auth.accounts import (
    encryption,
    factors,
)
from {{ cookiecutter.package_name }}.core.auth.accounts.models import User
from {{ cookiecutter.package_name }}.core.database import get_session

from .conftest import API, EMAIL, Mailbox, post_login


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = float(int(time.time()) // 30 * 30)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the application."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


class Enrolled:
    """A user with an authenticator app."""

    def __init__(self, secret: str, codes: list[str], clock: Clock) -> None:
        self.totp = TOTP(secret)
        self.codes = codes
        self.clock = clock

    def code(self, offset: int = 0) -> str:
        return self.totp.at(int(self.clock.now) + offset)


@pytest.fixture
def enrolled(ada: int, log_in: Callable[..., FlaskClient], clock: Clock) -> Enrolled:
    """A user with an authenticator app, enrolled 10 minutes ago."""
    client = log_in()
    started: Any = client.post(f"{API}/totp").json
    code = TOTP(started["secret"]).at(int(clock.now))
    response = client.post(f"{API}/totp/confirm", json={"code": code})
    assert response.status_code == 200, response.text
    body: Any = response.json
    clock.now += 600
    return Enrolled(started["secret"], body["codes"], clock)


def finish(client: FlaskClient, code: str) -> int:
    return client.post(f"{API}/login/factor", json={"code": code}).status_code


def test_login_needs_the_code(client: FlaskClient, enrolled: Enrolled) -> None:
    response = post_login(client)
    assert response.status_code == 202
    assert response.json == {"factors": ["totp", "recovery_code"]}
    assert client.get(API).status_code == 401
    assert finish(client, "000000") == 401
    assert client.get(API).status_code == 401
    assert finish(client, enrolled.code()) == 200
    assert client.get(API).status_code == 200


@pytest.mark.parametrize("offset", [-30, 0, 30])
def test_clocks_may_differ_by_30_seconds(
    client: FlaskClient, enrolled: Enrolled, offset: int
) -> None:
    post_login(client)
    assert finish(client, enrolled.code(offset)) == 200


@pytest.mark.parametrize("offset", [-90, 90])
def test_code_of_another_time_is_rejected(
    client: FlaskClient, enrolled: Enrolled, offset: int
) -> None:
    post_login(client)
    assert finish(client, enrolled.code(offset)) == 401


def test_replayed_code_is_rejected(app: Flask, client: FlaskClient, enrolled: Enrolled) -> None:
    code = enrolled.code()
    post_login(client)
    assert finish(client, code) == 200
    thief = app.test_client()
    post_login(thief)
    assert finish(thief, code) == 401


def test_recovery_code_works_once(app: Flask, client: FlaskClient, enrolled: Enrolled) -> None:
    code = enrolled.codes[0]
    post_login(client)
    assert finish(client, code.upper()) == 200
    other = app.test_client()
    post_login(other)
    assert finish(other, code) == 401
    assert finish(other, enrolled.codes[1].replace("-", "")) == 200


@pytest.mark.usefixtures("client")
def test_recovery_code_of_another_user_is_rejected(
    enrolled: Enrolled, create_user: Callable[..., int], app: Flask
) -> None:
    other = create_user("grace@example.com")
    with app.app_context():
        user = get_session().get(User, other)
        assert user
        assert not factors.verify(user, enrolled.codes[0])


def test_new_recovery_codes_replace_the_old_ones(
    app: Flask, client: FlaskClient, enrolled: Enrolled
) -> None:
    post_login(client)
    finish(client, enrolled.code())
    body: Any = client.post(f"{API}/recovery-codes").json
    other = app.test_client()
    post_login(other)
    assert finish(other, enrolled.codes[0]) == 401
    assert finish(other, body["codes"][0]) == 200


def test_second_step_without_the_first_is_rejected(client: FlaskClient, enrolled: Enrolled) -> None:
    assert finish(client, enrolled.code()) == 401


def test_second_step_must_follow_soon(
    client: FlaskClient, enrolled: Enrolled, clock: Clock
) -> None:
    post_login(client)
    clock.now += factors.PENDING_MAX_AGE + 1
    assert finish(client, enrolled.code()) == 401


def test_second_step_ends_with_a_password_change(
    app: Flask, client: FlaskClient, enrolled: Enrolled, mailbox: Mailbox
) -> None:
    post_login(client)
    other = app.test_client()
    other.post(f"{API}/forgot-password", json={"email": EMAIL})
    json = {"token": mailbox.token, "password": "seven lanterns in a cave"}
    assert other.post(f"{API}/reset-password", json=json).status_code == 204
    assert finish(client, enrolled.code()) == 401
    # The second factor is still required.
    assert post_login(client, EMAIL, "seven lanterns in a cave").status_code == 202


def test_guesses_of_the_code_are_limited(app: Flask, enrolled: Enrolled) -> None:
    client = app.test_client()
    post_login(client)
    statuses = [finish(client, f"{i:06}") for i in range(100)]
    assert statuses.count(401) <= 20
    assert statuses[-1] == 429
    assert finish(client, enrolled.code()) == 429


def test_secret_is_encrypted(app: Flask, enrolled: Enrolled) -> None:
    with app.app_context():
        stored = get_session().scalar(select(User.totp_secret))
        assert stored
        assert enrolled.totp.secret not in stored


def test_secret_of_a_lost_key_leaves_the_recovery_codes(
    make_app: Callable[..., Flask], enrolled: Enrolled
) -> None:
    client = make_app(SECRET_KEY="a-new-key-of-32-characters-1111111").test_client()
    assert post_login(client).status_code == 202
    assert finish(client, enrolled.code()) == 401
    assert finish(client, enrolled.codes[0]) == 200


def test_secret_survives_a_key_rotation(
    make_app: Callable[..., Flask], app: Flask, enrolled: Enrolled
) -> None:
    old = app.config["SECRET_KEY"]
    new = "a-new-key-of-32-characters-1111111"
    client = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=old).test_client()
    assert post_login(client).status_code == 202
    assert finish(client, enrolled.code()) == 200


NEW_KEY = "a-new-key-of-32-characters-1111111"


def read_secret(app: Flask) -> str:
    with app.app_context():
        return get_session().scalar(select(User.totp_secret)) or ""


def test_login_encrypts_the_secret_with_the_new_key(
    make_app: Callable[..., Flask], app: Flask, enrolled: Enrolled
) -> None:
    rotated = make_app(SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=app.config["SECRET_KEY"])
    client = rotated.test_client()
    old = read_secret(app)
    post_login(client)
    assert finish(client, "000000") == 401
    assert read_secret(app) == old
    assert finish(client, enrolled.code()) == 200
    new = read_secret(app)
    assert new != old
    with make_app(SECRET_KEY=NEW_KEY).app_context():
        assert encryption.decrypt(new) == enrolled.totp.secret
    # It is not encrypted again and again.
    enrolled.clock.now += 60
    post_login(client)
    assert finish(client, enrolled.code()) == 200
    assert read_secret(app) == new


def test_command_encrypts_all_secrets_with_the_new_key(
    make_app: Callable[..., Flask], app: Flask, ada: int, enrolled: Enrolled
) -> None:
    def run(**keys: str) -> Result:
        runner = make_app(SECRET_KEY=NEW_KEY, **keys).test_cli_runner()
        return runner.invoke(args=["users", "reencrypt"])

    old = read_secret(app)
    lost = run()
    assert lost.exit_code == 1
    assert f"lacks the key of the users {ada}" in lost.output
    assert read_secret(app) == old
    assert run(SECRET_KEY_FALLBACKS=app.config["SECRET_KEY"]).output.startswith("1 secrets")
    assert run().output.startswith("0 secrets")
    with make_app(SECRET_KEY=NEW_KEY).app_context():
        assert encryption.decrypt(read_secret(app)) == enrolled.totp.secret


@pytest.mark.usefixtures("ada")
def test_wrong_code_does_not_enroll(log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    assert client.post(f"{API}/totp/confirm", json={"code": "000000"}).status_code == 422
    client.post(f"{API}/totp")
    assert client.post(f"{API}/totp/confirm", json={"code": "000000"}).status_code == 422
    assert post_login(client).status_code == 200


def test_removal_ends_the_requirement(
    client: FlaskClient, enrolled: Enrolled, mailbox: Mailbox
) -> None:
    post_login(client)
    finish(client, enrolled.code())
    assert client.delete(f"{API}/totp").status_code == 204
    assert mailbox[-1][1] == "A second factor was removed"
    assert client.delete(f"{API}/totp").status_code == 204
    assert post_login(client).status_code == 200


@pytest.mark.usefixtures("enrolled")
def test_command_removes_a_lost_factor(app: Flask, client: FlaskClient) -> None:
    result = app.test_cli_runner().invoke(args=["users", "remove-factor", EMAIL])
    assert result.exit_code == 0, result.output
    assert post_login(client).status_code == 200
