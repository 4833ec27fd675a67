"""HTTP caching (RFC 9111): what clients, proxies and CDNs may store; by default it is private."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, make_response, request

from ..config import get_settings
# {% if cookiecutter.__cdn %}
from . import cdn, hooks
# {% else %}
from . import hooks
# {% endif %}
# {% if cookiecutter.__auth %}
from .access import allow_anonymous
# {% endif %}
# {% if cookiecutter.__cdn %}
from .tags import Tags
# {% endif %}

View = Callable[..., Any]

CONDITIONAL_HEADERS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")
PRIVATE = "private, no-cache"
# Where the session interface puts the session in the environment of a request.
SESSION = f"{__package__}.session"


def init_app(app: Flask) -> None:
    """Return 304 where the client has the response already."""
    hooks.after_request(app, make_conditional)


def make_conditional(response: Response, environ: WSGIEnvironment) -> Response:
    """Respond 304 to a client that has the response already (RFC 9110, 13.1.2 and 13.1.3)."""
    conditions = {name: environ[name] for name in CONDITIONAL_HEADERS if name in environ}
    if conditions and response.status_code == HTTPStatus.OK:
        # Without the headers for ranges and for writes, which Werkzeug would evaluate too.
        response.make_conditional({"REQUEST_METHOD": environ["REQUEST_METHOD"], **conditions})
    return response


def public(
    *,
    revalidate: bool = False,
    # {% if cookiecutter.__cdn %}
    tags: Tags = (),
    # {% endif %}
) -> Callable[[View], View]:
    """Let everybody store the responses of a view, for HTTP_CACHE_TTL seconds.

    With `revalidate`, each use of a stored response is validated with the application. A response
    to a request with a cookie or with `Authorization` stays private, as does one that uses the
    session. A `Cache-Control` header that the view sets itself takes precedence.
    """

    def decorate(view: View) -> View:
        # {% if cookiecutter.__auth %}
        # It applies to requests without credentials.
        allow_anonymous(view)

        # {% endif %}
        @wraps(view)
        def wrapper(**arguments: Any) -> Response:
            response = make_response(view(**arguments))
            if response.status_code != HTTPStatus.OK:
                return response
            if has_credentials() or uses_session():
                if not response.cache_control.no_store:
                    response.headers["Cache-Control"] = PRIVATE
            elif "Cache-Control" not in response.headers:
                response.headers["Cache-Control"] = cache_control(revalidate=revalidate)
                # {% if cookiecutter.__cdn %}
                if not revalidate:
                    cdn.get_cdn().add_headers(response, tags)
                # {% endif %}
            if not response.is_streamed:
                response.add_etag()
            return response

        return wrapper

    return decorate


def cache_control(*, revalidate: bool) -> str:
    """Return the value of `Cache-Control` for a public response."""
    if revalidate:
        return "public, no-cache"
    settings = get_settings()
    stale = f"stale-while-revalidate={settings.HTTP_CACHE_STALE_TTL}"
    return f"public, max-age={settings.HTTP_CACHE_TTL}, {stale}"


def has_credentials() -> bool:
    """Return whether the request has a cookie or an `Authorization` header."""
    environ = request.environ
    return "HTTP_COOKIE" in environ or "HTTP_AUTHORIZATION" in environ


def uses_session() -> bool:
    """Return whether the request's session was read or changed; True if that is unknown.

    Reading `flask.session` itself would count as a use.
    """
    return bool(getattr(request.environ.get(SESSION), "accessed", True))
