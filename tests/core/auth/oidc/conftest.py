from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.core.access import allow_anonymous, requires
from {{ cookiecutter.package_name }}.core.auth import get_identity

SITE = "https://localhost"


class Browser:
    """A browser that logs in."""

    def __init__(self, client: FlaskClient, provider: Any) -> None:
        self.client = client
        self.app: Flask = client.application
        self.provider = provider
        # The cookie of the last login that was started.
        self.started = ""

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, base_url=SITE, **options)

    def post(self, path: str) -> TestResponse:
        return self.client.post(path, base_url=SITE)

    def start(self, path: str = "/login/main", **claims: Any) -> str:
        """Go to the provider and log in there; return the callback URL."""
        response = self.get(path)
        self.started = response.headers["Set-Cookie"]
        return str(self.provider.authorize(response.location, **claims))

    def log_in(self, path: str = "/login/main", **claims: Any) -> TestResponse:
        return self.get(self.start(path, **claims))

    def whoami(self) -> Any:
        return self.get("/whoami").get_json()

    @property
    def cookie(self) -> str:
        """The session cookie."""
        found = self.client.get_cookie("__Host-session")
        return found.value if found else ""


@pytest.fixture(autouse=True)
def _real_identities(real_identities: None) -> None:
    """Use the provider of the application, not the one of the other tests."""


@pytest.fixture
def make_browser(
    request: pytest.FixtureRequest, make_app: Callable[..., Flask], oidc_provider: Any
) -> Callable[..., Browser]:
    """Function that creates a browser of an application with other settings."""
    # It has migrated the database, and empties its tables.
    request.getfixturevalue("app")

    def make(**variables: str) -> Browser:
        settings = {
            "OIDC_ISSUER": oidc_provider.issuer,
            "OIDC_CLIENT_ID": "service",
            "OIDC_CLIENT_SECRET": "secret of the client",
            "RATE_LIMIT_LOGINS": "1000/second",
            "RATE_LIMIT_WRITES": "1000/second",
        }
        own_app = make_app(**settings | variables)

        @own_app.get("/whoami")
        @allow_anonymous
        def whoami() -> Any:
            found = get_identity()
            return [found.id, found.name, sorted(found.permissions)] if found else []

        @own_app.get("/private")
        @requires()
        def private() -> str:
            return "private"

        return Browser(own_app.test_client(), oidc_provider)

    return make


@pytest.fixture
def browser(make_browser: Callable[..., Browser]) -> Browser:
    """A browser of an application with one provider."""
    return make_browser()
