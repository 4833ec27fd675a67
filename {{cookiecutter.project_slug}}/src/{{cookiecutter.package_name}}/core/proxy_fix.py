"""Reverse proxies: forwarded headers of trusted proxies, and the URL prefix."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ..config import get_settings

# Arguments of `ProxyFix`: headers that each trusted proxy sets.
PROXY_HEADERS = ("x_for", "x_proto", "x_host")


# {% if cookiecutter.__joins_headers %}
FORWARDED_HEADERS = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)


class AmbiguousHeaderFilter:
    """WSGI middleware: drop a forwarded header that has more entries than trusted proxies exist.

    uWSGI joins `X-Forwarded-For` and `X_Forwarded_For` into one list. The position of an entry
    then does not show whether a proxy or the client wrote it.
    """

    def __init__(self, wsgi_app: WSGIApplication, hops: int) -> None:
        self.wsgi_app = wsgi_app
        self.hops = hops

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application with the remaining headers."""
        for name in FORWARDED_HEADERS:
            if environ.get(name, "").count(",") >= self.hops:
                del environ[name]
        return self.wsgi_app(environ, start_response)


# {% endif %}
def init_app(app: Flask) -> None:
    """Trust the headers of TRUSTED_PROXY_HOPS proxies, and serve below URL_PREFIX."""
    settings = get_settings(app)
    if prefix := settings.URL_PREFIX:
        # Flask builds URLs with it outside of requests.
        app.config["APPLICATION_ROOT"] = prefix
        app.wsgi_app = URLPrefixMiddleware(  # type: ignore[method-assign]
            app.wsgi_app, prefix
        )
    if hops := settings.TRUSTED_PROXY_HOPS:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            **dict.fromkeys(PROXY_HEADERS, hops),
            # {% if cookiecutter.cdn == "none" %}
            # Most load balancers forward this header from the client, who would then control the
            # links of the response.
            x_prefix=hops if settings.TRUSTED_PROXY_PREFIX else 0,
            # {% endif %}
        )
        # {% if cookiecutter.__joins_headers %}
        app.wsgi_app = AmbiguousHeaderFilter(  # type: ignore[method-assign]
            app.wsgi_app, hops
        )
        # {% endif %}


class URLPrefixMiddleware:
    """WSGI middleware: move the prefix from the path to `SCRIPT_NAME`, which starts each URL.

    Paths without the prefix are accepted too: a proxy may have removed it, and health checks do
    not send it.
    """

    def __init__(self, wsgi_app: WSGIApplication, prefix: str) -> None:
        self.wsgi_app = wsgi_app
        self.prefix = prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application with the changed environment."""
        path = environ["PATH_INFO"]
        if has_prefix(path, self.prefix):
            environ["PATH_INFO"] = path.removeprefix(self.prefix) or "/"
        # ProxyFix may have set it from X-Forwarded-Prefix already.
        outer = environ.get("SCRIPT_NAME", "").removesuffix(self.prefix)
        environ["SCRIPT_NAME"] = f"{outer}{self.prefix}"
        return self.wsgi_app(environ, start_response)


def has_prefix(path: str, prefix: str) -> bool:
    """Return whether a path is the prefix or below it: not /shops for /shop."""
    return f"{path}/".startswith(f"{prefix}/")
