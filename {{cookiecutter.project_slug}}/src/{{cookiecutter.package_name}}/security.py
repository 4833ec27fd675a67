"""Known hosts, safe cookies and security headers."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Request, Response, abort, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.sansio.utils import host_is_trusted

HEADERS = [
    # What no view has declared public is nobody else's.
    ("Cache-Control", "private, no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
# What lets others keep an answer.
SHARING = {"cache-control", "cdn-cache-control", "surrogate-control"}


def init_app(app: Flask) -> None:
    """Protect the application."""
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not app.debug,
    )
    app.session_interface = Sessions(app)
    allowed = app.config["ALLOWED_HOSTS"]

    @lru_cache
    def is_allowed(host: str) -> bool:
        return host_is_trusted(host.lower(), allowed)

    # Not Flask's own TRUSTED_HOSTS: a load balancer's probe names an address, not a host.
    @app.before_request
    def refuse_unknown_host() -> None:
        environ = request.environ
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        if not is_allowed(host) and request.blueprint != "health":
            abort(400, "This host is not known here.")

    policy = make_policy(app.config["CONTENT_SOURCES"])
    app.wsgi_app = SecurityHeaders(app.wsgi_app, policy)  # type: ignore[method-assign]


def make_policy(sources: list[str]) -> str:
    """Let pages load from here and from origins that the settings name, and be framed nowhere."""
    own = " ".join(["'self'", *sources])
    return (
        f"default-src {own}; "
        f"img-src {own} data:; "
        "object-src 'none'; "
        "base-uri 'none'; "
        "form-action 'self'; "
        "frame-ancestors 'none'"
    )


class Sessions(SecureCookieSessionInterface):
    """Flask's own, which cost nothing where there is none; how they are signed is settled once."""

    def __init__(self, app: Flask) -> None:
        self.signing_serializer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> Any:  # noqa: ARG002
        """Return what signs."""
        return self.signing_serializer

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie, if any came."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Set the cookie, if there is anything to keep, or to forget."""
        if session or session.accessed:
            super().save_session(app, session, response)


class SecurityHeaders:
    """WSGI middleware: adds the headers that a response does not set itself; HSTS over TLS only."""

    def __init__(self, wsgi_app: WSGIApplication, policy: str) -> None:
        self.wsgi_app = wsgi_app
        headers = [*HEADERS, ("Content-Security-Policy", policy)]
        # Paired with their names as they are compared, which need not be made for each response.
        self.compared = [(name.lower(), (name, value)) for name, value in headers]

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answer as the wrapped application does, with more headers."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            if "set-cookie" in own:
                headers[:] = [header for header in headers if not is_shared(*header)]
                own = {name.lower() for name, _ in headers}
            headers.extend(header for name, header in self.compared if name not in own)
            if environ["wsgi.url_scheme"] == "https":
                headers.append(HSTS)
            return start_response(status, headers, exc_info)

        return self.wsgi_app(environ, start)


def is_shared(name: str, value: str) -> bool:
    """Tell whether a header lets others keep the answer: what sets a cookie is for one client."""
    return name.lower() in SHARING and not {"private", "no-store"} & {*value.split(", ")}
