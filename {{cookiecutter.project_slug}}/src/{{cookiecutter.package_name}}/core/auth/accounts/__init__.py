"""Accounts: people in the project's database, who log in with an address and a password."""

from typing import ClassVar, NoReturn

from flask import Flask
from werkzeug.exceptions import Forbidden

from ...http_caching import has_credentials
from .. import (
    # {% if cookiecutter.__identity_cache %}
    identity_cache,
    # {% endif %}
    retention,
)
from .. import sessions as browser_sessions
from ..bearer import unauthorized
from ..identity import Identity
# {% if cookiecutter.web_pages %}
from ..redirects import redirect_browser
# {% endif %}
from ..stored_tokens import old_rows
from ..token_lookup import find_session
from . import (
    api,
    commands,
    factor_api,
    # {% if cookiecutter.web_pages %}
    factor_pages,
    pages,
    # {% endif %}
    passkey_api,
    # {% if cookiecutter.web_pages %}
    passkey_pages,
    # {% endif %}
    sessions,
    token_api,
    # {% if cookiecutter.web_pages %}
    token_pages,
    # {% endif %}
    tokens,
    users,
)
from .models import (
    # {% if cookiecutter.__identity_cache %}
    ApiToken,
    # {% endif %}
    User,
    # {% if cookiecutter.__identity_cache %}
    UserRole,
    # {% endif %}
    UserSession,
)


class AccountsProvider:
    """Identities from API tokens, and from the cookies of sessions."""

    security_schemes: ClassVar = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "session"},
    }

    def load(self) -> Identity | None:
        """Return the user of the request's token or session."""
        if not has_credentials():
            return None
        return tokens.load_identity() or sessions.load_identity()

    def challenge(self) -> NoReturn:
        """Redirect browsers to the login page, and respond with 401 to other clients."""
        # {% if cookiecutter.web_pages %}
        redirect_browser("account_pages.log_in")
        # {% endif %}
        raise unauthorized("Log in, or send `Authorization: Bearer …`.")

    def get_authentication_time(self) -> float | None:
        """Return when the user of the request's session entered a credential."""
        current: sessions.CurrentSession | None = find_session()
        return current.authenticated_at.timestamp() if current else None

    def reauthenticate(self) -> NoReturn:
        """Send browsers to enter the password again; respond with 403 to other clients."""
        sessions.get_current()
        # {% if cookiecutter.web_pages %}
        redirect_browser("account_pages.reauthenticate")
        # {% endif %}
        raise Forbidden("Confirm your password first: POST /api/v1/account/reauthenticate.")


def init_app(app: Flask) -> None:
    """Register the API, the pages and the commands."""
    browser_sessions.init_app(app)
    app.extensions["auth"] = AccountsProvider()
    # {% if cookiecutter.__identity_cache %}
    models = {User: "id", **dict.fromkeys([UserRole, UserSession, ApiToken], "user_id")}
    identity_cache.init_app(app, models)
    # {% endif %}
    app.register_blueprint(api.blueprint)
    app.register_blueprint(factor_api.blueprint)
    app.register_blueprint(passkey_api.blueprint)
    app.register_blueprint(token_api.blueprint)
    # {% if cookiecutter.web_pages %}
    pages.init_app(app)
    app.register_blueprint(factor_pages.blueprint)
    app.register_blueprint(passkey_pages.blueprint)
    app.register_blueprint(token_pages.blueprint)
    # {% endif %}
    app.cli.add_command(commands.users)
    retention.OLD_ROWS[UserSession] = lambda: old_rows(UserSession)
    retention.OLD_ROWS[User] = users.old_unconfirmed
