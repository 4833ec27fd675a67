"""Browsers' sessions: a signed cookie with an idle timeout and an absolute one."""

import time
from typing import Any

from flask import Flask, Request, Response, current_app, session
from flask.sessions import SecureCookieSession

from ...config import Settings, get_settings
from ..security import LazySessionInterface

# Keys of a session that has started: the times of its start and of its last renewal.
STARTED = "started"
RENEWED = "renewed"
# The cookie is renewed after this share of the idle timeout, and not with each response.
RENEWAL_SHARE = 0.1


class SessionInterface(LazySessionInterface):
    """Flask's sessions with timeouts. Requests without a session cost nothing."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        super().__init__(app)
        self.timeout = settings.SESSION_TIMEOUT
        self.renewal_interval = settings.SESSION_IDLE_TIMEOUT * RENEWAL_SHARE

    def load_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Load the session; the signature is not valid after the idle timeout."""
        loaded = super().load_session(app, request)
        # `loaded.get` would count as a use of the session.
        started = dict.get(loaded or {}, STARTED)
        if started is not None and time.time() - started > self.timeout:
            loaded = self.session_class()
            # Delete the cookie.
            loaded.accessed = loaded.modified = True
        return loaded

    def store_session(self, app: Flask, session: Any, response: Response) -> None:
        """Set the cookie if the session has changed, or if it was used and needs a renewal."""
        renewed = dict.get(session, RENEWED)
        if renewed is not None and session.accessed:
            now = int(time.time())
            if now - renewed > self.renewal_interval:
                session[RENEWED] = now
        super().store_session(app, session, response)


def init_app(app: Flask) -> None:
    """Set the name of the cookie and the timeouts."""
    settings = get_settings(app)
    app.config.update(
        SESSION_COOKIE_NAME=cookie_name(app, "session"),
        PERMANENT_SESSION_LIFETIME=settings.SESSION_IDLE_TIMEOUT,
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.session_interface = SessionInterface(app, settings)


def cookie_name(app: Flask, name: str) -> str:
    """Return the name of a cookie with the prefix by which browsers protect it (RFC 6265bis).

    With `__Host-`, no other host of the domain can set it; its path must be `/`. Debug mode has
    no TLS, and so no prefix.
    """
    if app.debug:
        return name
    # The second setting exists only without a CDN.
    has_prefix = app.config["URL_PREFIX"] or app.config.get("TRUSTED_PROXY_PREFIX")
    return f"__Secure-{name}" if has_prefix else f"__Host-{name}"


def cookie_options() -> dict[str, Any]:
    """Return the options of all cookies of a login, for `set_cookie` and `delete_cookie`."""
    return {
        "path": current_app.session_interface.get_cookie_path(current_app),
        "secure": current_app.config["SESSION_COOKIE_SECURE"],
        "httponly": True,
        "samesite": "Lax",
    }


def start(**values: Any) -> None:
    """Start a session with values at a login, and at each change of privileges.

    Nothing of the former one remains, which an attacker may have planted (session fixation).
    """
    session.clear()
    # The browser deletes the cookie at the idle timeout.
    session.permanent = True
    now = int(time.time())
    session.update(values, **{STARTED: now, RENEWED: now})
