import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core.auth.accounts import mails, passwords
from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    User,
    UserRole,
)
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow

API = "/api/v1/account"
COOKIE = "__Host-session"
EMAIL = "ada@example.com"
PASSWORD = "three kites over tokyo"

LINK = re.compile(r"https?://\S+")


@pytest.fixture(autouse=True)
def login() -> None:
    """Requests have the identity of their cookie, unlike in other tests."""


@pytest.fixture
def real_hashes() -> None:
    """Passwords are hashed with the parameters of production."""


@pytest.fixture(autouse=True)
def _quick_hashes(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Hash passwords in a millisecond, unless a test is about their hashes."""
    if "real_hashes" not in request.fixturenames and "passwords" not in request.module.__name__:
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        monkeypatch.setattr(passwords, "HASHER", quick)
        passwords.dummy_hash.cache_clear()
    yield
    passwords.dummy_hash.cache_clear()


@pytest.fixture(autouse=True)
def _new_counters(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count attempts anew: tests of migrations create the tables again, and so repeat IDs."""
    monkeypatch.setitem(app.extensions, "rate_limiting", MemoryStorage())


class Mailbox(list[tuple[str, str, str]]):
    """The sent mails: recipient, subject, text."""

    @property
    def token(self) -> str:
        """The token in the link of the last mail."""
        link = LINK.search(self[-1][2])
        assert link
        return parse_qs(urlsplit(link[0]).query)["token"][0]


@pytest.fixture(autouse=True)
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """The mails that are sent."""
    box = Mailbox()

    def send_mail(to: str, subject: str, text: str) -> None:
        box.append((to, subject.rpartition("] ")[2], text))

    monkeypatch.setattr(mails, "send_mail", send_mail)
    # {% if cookiecutter.task_queue == "none" %}
    monkeypatch.setattr(mails, "Thread", DirectThread)
    # {% endif %}
    return box


# {% if cookiecutter.task_queue == "none" %}
class DirectThread:
    """A thread that runs when it is started."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.target = target
        self.args = args

    def start(self) -> None:
        self.target(*self.args)


# {% endif %}
@pytest.fixture
def create_user(app: Flask) -> Callable[..., int]:
    """Function that creates a user with a confirmed address, and returns the ID."""

    def create(email: str = EMAIL, *roles: str, **values: Any) -> int:
        with app.app_context():
            password_hash = passwords.hash_password(PASSWORD)
            values = {"password_hash": password_hash, "confirmed_at": utcnow()} | values
            user = User(email=email, **values)
            get_session().add(user)
            get_session().flush()
            get_session().add_all(UserRole(user_id=user.id, role=role) for role in roles)
            get_session().commit()
            return user.id

    return create


@pytest.fixture
def ada(create_user: Callable[..., int]) -> int:
    """The ID of a user."""
    return create_user()


@pytest.fixture
def log_in(app: Flask) -> Callable[..., FlaskClient]:
    """Function that returns the client of a user who has logged in."""

    def log_in(email: str = EMAIL, password: str = PASSWORD, **options: Any) -> FlaskClient:
        client = app.test_client()
        response = post_login(client, email, password, **options)
        assert response.status_code == 200, response.text
        return client

    return log_in


def read(client: FlaskClient, path: str = "") -> Any:
    """Return the body of a response of the API."""
    return client.get(f"{API}{path}").json


def post_login(
    client: FlaskClient, email: str = EMAIL, password: str = PASSWORD, **options: Any
) -> TestResponse:
    credentials = {"email": email, "password": password}
    return client.post(f"{API}/login", json=credentials, **options)
