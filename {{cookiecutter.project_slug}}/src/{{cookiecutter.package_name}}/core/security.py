"""Host validation, protection against cross-site requests, sessions and security headers."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from flask import Flask, Request, Response, abort, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from ..config import get_settings
from . import SAFE_METHODS, hooks
# {% if cookiecutter.__auth %}
from .access import get_rule
# {% endif %}
from .http_caching import SESSION
from .responses import NAME

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+?)\.?)(?::[0-9]{1,5})?", re.ASCII)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

HEADERS = [
    # Responses are private unless a view declares them public.
    ("Cache-Control", "private, no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
SHARED_CACHE_HEADERS = {"cache-control", "cdn-cache-control", "surrogate-control"}


def init_app(app: Flask) -> None:
    """Check host and origin of each request, secure the session, and add security headers."""
    settings = get_settings(app)
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not app.debug,
    )
    app.session_interface = LazySessionInterface(app)
    is_allowed_host = host_matcher(settings.ALLOWED_HOSTS)
    allowed_origins = {normalize_origin(origin) for origin in settings.CORS_ORIGINS}

    # Flask's TRUSTED_HOSTS would reject health checks of load balancers: their Host is an IP
    # address.
    def check_host_and_origin(environ: WSGIEnvironment) -> None:
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        if not is_allowed_host(host) and request.blueprint != "health":
            abort(400, "This host is not in ALLOWED_HOSTS.")
        is_write = environ["REQUEST_METHOD"] not in SAFE_METHODS
        if is_write and is_cross_site(environ, allowed_origins, is_allowed_host):
            abort(403, "This origin is not in CORS_ORIGINS.")

    hooks.before_request(app, check_host_and_origin)

    sources = [*settings.CSP_SOURCES]
    # {% if cookiecutter.__cdn %}
    if settings.CDN_URL and not app.debug:
        sources.append(settings.CDN_URL)
    # {% endif %}
    app.wsgi_app = SecurityHeaders(  # type: ignore[method-assign]
        app.wsgi_app, content_security_policy(sources)
    )


def normalize_host(host: str) -> str:
    """Return a host in lower case, without port, brackets and final dot; "" if it is malformed."""
    found = HOST.fullmatch(host.lower())
    return (found[1] or found[2]) if found else ""


def host_matcher(allowed: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that checks a host; a leading dot in `allowed` includes subdomains."""
    hosts = {normalize_host(host) for host in allowed}
    domains = tuple(host for host in hosts if host.startswith("."))

    @lru_cache
    def is_allowed(host: str) -> bool:
        name = normalize_host(host)
        return name in hosts or f".{name}".endswith(domains)

    return is_allowed


def normalize_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case and without the default port."""
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(DEFAULT_PORTS.get(scheme, ''))}"


def is_cross_site(
    environ: WSGIEnvironment,
    allowed_origins: set[str],
    is_allowed_host: Callable[[str], bool],
) -> bool:
    """Return whether a page of another site sends this request (Fetch Metadata, RFC 6454).

    Browsers send one of both headers, so that forms need no CSRF token and pages stay cacheable.
    A request without them does not come from a browser.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    origin = environ.get("HTTP_ORIGIN")
    if origin in allowed_origins:
        return False
    if site is not None:
        # Another host of the domain and another port, "same-site", may have another owner.
        return site not in {"same-origin", "none"}
    return origin is not None and not is_allowed_host(origin.partition("://")[2])


def content_security_policy(sources: list[str]) -> str:
    """Allow content of this site and of `sources`, and no embedding in other pages."""
    own = " ".join(["'self'", *sources])
    return (
        f"default-src {own}; "
        f"img-src {own} data:; "
        "object-src 'none'; "
        "base-uri 'none'; "
        "form-action 'self'; "
        "frame-ancestors 'none'"
    )


def log_open_operations(app: Flask) -> None:
    """Log a warning in production that lists the operations which anybody may call to change data.

    Call it once when a server starts.
    """
    operations = sorted(
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        # {% if cookiecutter.__auth %}
        if get_rule(app, rule.endpoint) is None
        # {% endif %}
        # {% if cookiecutter.__login %}
        if rule.endpoint.partition(".")[0] != "auth"
        # {% endif %}
        # {% if cookiecutter.__web_vitals %}
        if rule.endpoint != "web_vitals.record"
        # {% endif %}
        for method in (rule.methods or set()) - SAFE_METHODS
    )
    if operations and not app.debug and not app.testing:
        structlog.get_logger().warning(
            "operations without authentication",
            operations=operations,
            help='README.md, "Before you expose it"',
        )


class LazySessionInterface(SecureCookieSessionInterface):
    """Flask's sessions, without their cost for requests that have no session."""

    def __init__(self, app: Flask) -> None:
        self.signing_serializer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> Any:
        """Return the serializer, which Flask itself would build for each request."""
        return self.signing_serializer

    def is_null_session(self, obj: object) -> bool:
        """Return whether a session is the one of an application without SECRET_KEY.

        Flask calls `isinstance`, which takes ten times as long for an abstract base class.
        """
        return type(obj) is self.null_session_class

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Load the session if the request has a cookie, and note it for `http_caching`."""
        has_cookie = "HTTP_COOKIE" in request.environ
        session = self.load_session(app, request) if has_cookie else self.session_class()
        request.environ[SESSION] = session
        return session

    def load_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Load the session of a request with a cookie."""
        return super().open_session(app, request)

    def get_cookie_path(self, app: Flask) -> str:
        """Return the path of the application as clients see it, with URL_PREFIX."""
        return app.config["SESSION_COOKIE_PATH"] or request.script_root or "/"

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Set or delete the cookie if the session was used."""
        if session or session.accessed:
            self.store_session(app, session, response)

    def store_session(self, app: Flask, session: Any, response: Response) -> None:
        """Set or delete the cookie if the session has changed."""
        super().save_session(app, session, response)


class SecurityHeaders:
    """WSGI middleware: add the headers that a response lacks; HSTS only for https requests."""

    def __init__(self, wsgi_app: WSGIApplication, policy: str) -> None:
        self.wsgi_app = wsgi_app
        headers = [*HEADERS, ("Content-Security-Policy", policy)]

        # Computed once for each combination of header names, of which there are few.
        @lru_cache
        def examine(names: tuple[str, ...]) -> tuple[bool, list[tuple[str, str]]]:
            existing = {name.lower() for name in names}
            missing = [header for header in headers if header[0].lower() not in existing]
            return "set-cookie" in existing, missing

        self.examine = examine

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application and extend the headers of its response."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            sets_cookie, missing = self.examine(tuple(map(NAME, headers)))
            if sets_cookie:
                headers[:] = [header for header in headers if not allows_shared_caching(*header)]
                _, missing = self.examine(tuple(map(NAME, headers)))
            headers += missing
            if environ["wsgi.url_scheme"] == "https":
                headers.append(HSTS)
            return start_response(status, headers, exc_info)

        return self.wsgi_app(environ, start)


def allows_shared_caching(name: str, value: str) -> bool:
    """Return whether a header lets shared caches store the response.

    A response that sets a cookie is for one client, so it must not have such a header.
    """
    directives = {*value.split(", ")}
    return name.lower() in SHARED_CACHE_HEADERS and directives.isdisjoint({"private", "no-store"})
