"""Login at an identity provider with OpenID Connect: Keycloak, Entra ID, Okta, Google."""

import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from flask import (
    Blueprint,
    Flask,
    current_app,
    make_response,
    redirect,
    # {% if cookiecutter.web_pages %}
    render_template,
    # {% endif %}
    request,
    url_for,
)
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, Unauthorized

from ....config import OIDCProvider, Settings, SettingsError, get_settings
from ....permissions import ROLES
# {% if cookiecutter.web_pages %}
from ....web import add_nav_template
# {% endif %}
from ...access import allow_anonymous
from ...rate_limiting import rate_limit
from .. import audit, sessions
from ..identity import Identity, get_identity
from ..redirects import local_url, redirect_browser
from . import (
    # {% if cookiecutter.__sql %}
    database_sessions,
    # {% else %}
    cookie_sessions,
    # {% endif %}
    pending,
)
from .providers import LoginError, Provider

# {% if cookiecutter.__sql %}
user_sessions = database_sessions
# {% else %}
user_sessions = cookie_sessions
# {% endif %}

blueprint = Blueprint("auth", __name__, template_folder="templates")

# The name of the provider in OIDC_ISSUER.
MAIN = "main"
# The value of OIDC_ISSUER for development: everybody logs in, with all roles, without a provider.
DEVELOPMENT = "development:"
# What a provider says about an error; other texts are not shown.
ERROR_CODE = re.compile(r"[a-z_]{1,40}\Z")
# Not "cookies", which would include those of other hosts of the domain.
CLEAR_SITE_DATA = '"cache", "storage"'


class LoginProvider:
    """Identities from browsers' sessions."""

    security_schemes: ClassVar = {"session": {"type": "apiKey", "in": "cookie", "name": "session"}}

    def __init__(self, app: Flask, settings: Settings) -> None:
        main = OIDCProvider(
            issuer=settings.OIDC_ISSUER,
            client_id=settings.OIDC_CLIENT_ID,
            client_secret=settings.OIDC_CLIENT_SECRET,
            title=settings.OIDC_TITLE,
            scopes=settings.OIDC_SCOPES,
            roles_claim=settings.OIDC_ROLES_CLAIM,
            roles=settings.OIDC_ROLES,
            required_claims=settings.OIDC_REQUIRED_CLAIMS,
        )
        self.providers = {
            name: Provider(app, name, provider, settings.OIDC_TIMEOUT)
            for name, provider in {MAIN: main, **settings.OIDC_PROVIDERS}.items()
        }

    def load(self) -> Identity | None:
        """Return the identity of the request's session."""
        if "HTTP_COOKIE" not in request.environ:
            return None
        return user_sessions.load_identity()

    def challenge(self) -> NoReturn:
        """Send browsers to the login; respond with 401 to all other clients."""
        redirect_browser("auth.login")
        challenge = WWWAuthenticate("session", {"realm": current_app.name})
        raise Unauthorized("Log in first: /login.", www_authenticate=challenge)

    def get_authentication_time(self) -> float | None:
        """Return when the user of the request's session entered a credential at the provider."""
        login = user_sessions.find_login()
        return login.authenticated_at if login else None

    def reauthenticate(self) -> NoReturn:
        """Send browsers to the provider of their session; respond with 403 to other clients."""
        login = user_sessions.find_login()
        name = login.provider if login else MAIN
        redirect_browser("auth.start", name=name, fresh="1")
        raise Forbidden(f"Log in again first: /login/{name}?fresh=1.")


def init_app(app: Flask) -> None:
    """Add the login and the logout."""
    settings = get_settings(app)
    check_settings(settings, is_production=not app.debug and not app.testing)
    sessions.init_app(app)
    app.extensions["auth"] = LoginProvider(app, settings)
    app.register_blueprint(blueprint)
    user_sessions.init_app(app)
    # {% if cookiecutter.web_pages %}
    app.jinja_env.globals["get_identity"] = get_identity
    add_nav_template(app, "auth/nav.html")
    # {% endif %}


def check_settings(settings: Settings, *, is_production: bool) -> None:
    """Raise `SettingsError` for development in production, and for roles that do not exist."""
    if is_production and settings.OIDC_ISSUER == DEVELOPMENT:
        raise SettingsError("OIDC_ISSUER: development: is for development only")
    mappings = {
        "OIDC_ROLES": [settings.OIDC_ROLES],
        "OIDC_PROVIDERS": [provider.roles for provider in settings.OIDC_PROVIDERS.values()],
    }
    for name, roles in mappings.items():
        if unknown := {role for mapping in roles for role in mapping.values()} - ROLES.keys():
            raise SettingsError(f"{name}: permissions.py has no role {', '.join(sorted(unknown))}")


def get_login_provider(name: str) -> Provider:
    """Return a provider by its name; respond with 404 if there is none."""
    auth: LoginProvider = current_app.extensions["auth"]
    if name not in auth.providers:
        raise NotFound
    return auth.providers[name]


@blueprint.get("/login")
@allow_anonymous
def login() -> Any:
    """Go to the provider, or let the user choose one of several."""
    providers = current_app.extensions["auth"].providers
    target = local_url(request.args.get("next"))
    if len(providers) == 1:
        return redirect(url_for("auth.start", name=MAIN, next=target))
    # {% if cookiecutter.web_pages %}
    return render_template("auth/login.html", providers=providers.values(), next=target)
    # {% else %}
    return {name: url_for("auth.start", name=name, next=target) for name in providers}
    # {% endif %}


@blueprint.get("/login/<name>")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGINS")
def start(name: str) -> Any:
    """Send the user to a provider."""
    provider = get_login_provider(name)
    target = local_url(request.args.get("next"))
    if provider.settings.issuer == DEVELOPMENT:
        claims = {
            "sub": "developer",
            "auth_time": time.time(),
            provider.settings.roles_claim: [*ROLES],
        }
        user_sessions.start(provider, claims, "Developer", "")
        return redirect(target)
    is_fresh = "fresh" in request.args
    values = provider.create_authorization_url(redirect_uri(name), fresh=is_fresh)
    response = make_response(redirect(values["url"]))
    response.headers["Cache-Control"] = "no-store"
    attempt = pending.PendingLogin(
        name,
        values["state"],
        values["nonce"],
        values["code_verifier"],
        target,
        int(time.time()) if is_fresh else 0,
    )
    pending.save(attempt, response)
    return response


@blueprint.get("/login/<name>/callback")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGINS")
def callback(name: str) -> Any:
    """Start the session of the user whom the provider sends back."""
    provider = get_login_provider(name)
    state = request.args.get("state", "")
    attempt = pending.load(name, state)
    if attempt is None:
        raise fail(provider, "unknown_state")
    if "error" in request.args:
        code = request.args["error"]
        raise fail(provider, code if ERROR_CODE.match(code) else "unknown_error")
    try:
        claims, id_token = provider.fetch_claims(
            request.args.get("code", ""),
            redirect_uri(name),
            attempt.nonce,
            attempt.code_verifier,
            attempt.fresh_after,
        )
        user_id = user_sessions.start(provider, claims, display_name(claims), id_token)
    except LoginError as error:
        raise fail(provider, str(error)) from None
    audit.record("login_succeeded", subject=user_id, provider=name)
    response = make_response(redirect(attempt.next))
    response.headers["Cache-Control"] = "no-store"
    pending.delete(state, response)
    return response


@blueprint.post("/logout")
@allow_anonymous
def logout() -> Any:
    """End the session here, and return or show the URL that ends the one at the provider."""
    identity = get_identity()
    name, id_token = user_sessions.end()
    url = ""
    if identity:
        audit.record("logout", subject=identity.id)
    if name in current_app.extensions["auth"].providers:
        provider = get_login_provider(name)
        if provider.settings.issuer != DEVELOPMENT:
            url = provider.create_logout_url(request.url_root, id_token)
    # {% if cookiecutter.web_pages %}
    # A redirect after a form would need another `form-action` in the content security policy.
    response = make_response(render_template("auth/logout.html", logout_url=url))
    if url:
        response.headers["Refresh"] = f"0; url={url}"
    # {% else %}
    response = make_response({"logout_url": url})
    # {% endif %}
    response.headers["Cache-Control"] = "no-store"
    response.headers["Clear-Site-Data"] = CLEAR_SITE_DATA
    return response


def redirect_uri(name: str) -> str:
    """Return the URL to which a provider sends users back; it must be registered there."""
    return url_for("auth.callback", name=name, _external=True)


def display_name(claims: Mapping[str, Any]) -> str:
    """Return a name for people."""
    names = (claims.get(key) for key in ("name", "preferred_username", "email", "sub"))
    return next(str(name) for name in names if name)[:255]


def fail(provider: Provider, reason: str) -> BadRequest:
    """Record a login that failed; return the exception for 400."""
    audit.record("login_failed", provider=provider.name, reason=reason)
    return BadRequest(f"The login failed ({reason}). Start again: /login.")
