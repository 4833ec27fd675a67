from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.exceptions import HTTPException

from {{ cookiecutter.package_name }}.core.auth import retention
from {{ cookiecutter.package_name }}.core.auth.accounts import login as module
from {{ cookiecutter.package_name }}.core.auth.accounts import passwords
from {{ cookiecutter.package_name }}.core.auth.accounts.models import User
from {{ cookiecutter.package_name }}.core.auth.audit_table import (
    UNKNOWN,
    AuditEvent,
)
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

from .conftest import API, COOKIE, EMAIL, PASSWORD, post_login


class RecordingHasher(PasswordHasher):
    """A hasher that records its expensive operations and their parameters."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.operations: list[tuple[str, str]] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        password_hash = super().hash(password, salt=salt)
        self.operations.append(("hash", parameters(password_hash)))
        return password_hash

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.operations.append(("verify", parameters(str(hash))))
        return super().verify(hash, password)


def parameters(password_hash: str) -> str:
    """Return the parameters of a hash, without salt and result."""
    return password_hash.rpartition("$")[0].rpartition("$")[0]


@pytest.fixture
def work(
    app: Flask, monkeypatch: pytest.MonkeyPatch, record_queries: Callable[..., Any]
) -> Iterator[Callable[[], list[object]]]:
    """Function that returns the hashes and SQL statements since the last call."""
    hasher = RecordingHasher()
    monkeypatch.setattr(passwords, "HASHER", hasher)
    passwords.dummy_hash.cache_clear()
    passwords.dummy_hash()
    with record_queries(app) as statements:

        def read() -> list[object]:
            operations: list[object] = [*hasher.operations, *statements]
            hasher.operations.clear()
            statements.clear()
            return operations

        yield read


@pytest.mark.usefixtures("ada")
def test_wrong_password_unknown_address_and_disabled_user_get_one_response(
    client: FlaskClient, create_user: Callable[..., int]
) -> None:
    create_user("grace@example.com", disabled_at=utcnow())
    responses = [
        post_login(client, EMAIL, "wrong password"),
        post_login(client, "nobody@example.com"),
        post_login(client, "grace@example.com"),
    ]
    assert [response.status_code for response in responses] == [401] * 3
    assert len({response.text.partition('"request_id"')[0] for response in responses}) == 1
    assert not any("Set-Cookie" in response.headers for response in responses)


def test_unknown_addresses_cost_as_much_as_known_ones(
    client: FlaskClient, create_user: Callable[..., int], work: Callable[[], list[object]]
) -> None:
    """The same hashes and statements: the time of the response does not tell which users exist.

    `benchmarks/accounts.py` in the template measures the times.
    """
    create_user()
    costs = []
    for email in (EMAIL, "nobody@example.com", EMAIL, "nobody@example.com"):
        work()
        assert post_login(client, email, "wrong password").status_code == 401
        costs.append(work())
    assert costs[2] == costs[3]
    assert [cost for cost in costs[2] if isinstance(cost, tuple)]


def test_registration_costs_the_same_for_known_addresses(
    client: FlaskClient, create_user: Callable[..., int], work: Callable[[], list[object]]
) -> None:
    create_user()
    costs = []
    for email in (EMAIL, "new@example.com"):
        work()
        data = {"email": email, "password": PASSWORD}
        assert client.post(f"{API}/register", json=data).status_code == 202
        costs.append([cost for cost in work() if isinstance(cost, tuple)])
    assert costs[0] == costs[1] != []


@pytest.mark.usefixtures("ada")
def test_guesses_do_not_lock_the_user_out(make_app: Callable[..., Flask]) -> None:
    app = make_app(
        RATE_LIMIT_LOGIN="100000/hour",
        RATE_LIMIT_WRITES="100000/hour",
        RATE_LIMIT_LOGIN_ACCOUNT="10/hour",
        # {% if cookiecutter.reverse_proxy == "none" %}
        RATE_LIMIT="100000/hour",
        # {% endif %}
    )
    known, stranger = app.test_client(), app.test_client()
    assert post_login(known).status_code == 200
    statuses = [post_login(stranger, EMAIL, "wrong password").status_code for _ in range(100)]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 10
    # The right password does not help a stranger any more, but the user's browser can log in.
    assert post_login(stranger).status_code == 429
    known.post(f"{API}/logout")
    assert post_login(known).status_code == 200
    # Its cookie is for one account.
    assert post_login(known, "nobody@example.com").status_code == 401


@pytest.mark.usefixtures("ada")
def test_many_wrong_passwords_compute_few_hashes(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    calls = []

    def verify_password(*arguments: object) -> bool:
        calls.append(arguments)
        return False

    monkeypatch.setattr(passwords, "verify_password", verify_password)
    rejected = 0
    # Without the server, which would take most of the time.
    with app.test_request_context(environ_base={"REMOTE_ADDR": "192.0.2.7"}):
        for number in range(10_000):
            try:
                module.log_in(EMAIL, f"guess {number}")
            except HTTPException as error:
                rejected += error.code == 429
    # 50 an hour, and the next hour may have begun.
    assert len(calls) <= 100
    assert rejected >= 9_900
    assert post_login(app.test_client(), EMAIL).status_code in {401, 429}


def test_guesses_of_addresses_do_not_fill_the_database(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        assert post_login(app.test_client(), f"unknown-{number}@example.com").status_code == 401
    monkeypatch.setattr(retention, "SHARE", 1)
    assert post_login(app.test_client()).status_code == 401
    with app.app_context():
        found = select(AuditEvent.id).where(AuditEvent.subject == UNKNOWN)
        assert get_session().scalars(found).all() == []


@pytest.mark.usefixtures("ada")
def test_forged_device_cookie_is_ignored(app: Flask) -> None:
    client = app.test_client()
    client.set_cookie(module.DEVICE_COOKIE, "forged")
    with app.test_request_context(headers={"Cookie": f"{module.DEVICE_COOKIE}=forged"}):
        assert module.get_known_device(EMAIL) == ""
    assert post_login(client).status_code == 200


@pytest.mark.usefixtures("real_hashes")
def test_login_rehashes_a_password_with_old_parameters(
    app: Flask, client: FlaskClient, create_user: Callable[..., int]
) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    user_id = create_user(password_hash=old)
    assert post_login(client).status_code == 200
    with app.app_context():
        user = get_session().get(User, user_id)
        assert user
        assert "m=19456,t=2,p=1" in (user.password_hash or "")
    assert post_login(client).status_code == 200


def test_user_without_a_password_cannot_log_in(
    client: FlaskClient, create_user: Callable[..., int]
) -> None:
    create_user(password_hash=None)
    assert post_login(client).status_code == 401


@pytest.mark.usefixtures("ada")
def test_security_events_have_no_secrets(
    client: FlaskClient, read_logs: Callable[[], list[dict[str, Any]]]
) -> None:
    post_login(client, EMAIL, "a wrong secret")
    post_login(client)
    client.post(f"{API}/logout")
    logs = read_logs()
    events = [line["security_event"] for line in logs if line["event"] == "security event"]
    assert events == ["login_failed", "login_succeeded", "logout"]
    cookie = client.get_cookie(COOKIE)
    text = str(logs)
    for secret in ("a wrong secret", PASSWORD, EMAIL, cookie and cookie.value):
        assert not secret or secret not in text
