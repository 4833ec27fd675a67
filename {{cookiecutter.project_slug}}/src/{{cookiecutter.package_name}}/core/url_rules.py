"""URL rules that are created quickly, and bound quickly to each request.

Compiling their builders was most of `create_app()`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask, Request
from werkzeug.routing import MapAdapter, Rule
from werkzeug.sansio import utils

# It checks the characters of a host; clients send few different ones.
get_host = lru_cache(maxsize=128)(utils.get_host)


class LazyRule(Rule):
    """A rule that compiles a builder when `url_for` calls it first.

    Werkzeug compiles two builders when a rule is added, and a process calls few of them.
    """

    # Private: there is no public hook between adding a rule and compiling it.
    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        """Return a function that replaces itself by the compiled builder of Werkzeug."""
        # Private, as above.
        compile_builder = super()._compile_builder
        # Private: the two attributes in which Werkzeug stores the compiled functions.
        attribute = "_build_unknown" if append_unknown else "_build"

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            builder: Callable[..., tuple[str, str]] = compile_builder(append_unknown).__get__(rule)
            setattr(rule, attribute, builder)
            return builder(**values)

        return build


def init_app(app: Flask) -> None:
    """Let the rules that are added from now on compile their builders on first use.

    Bind the rules to a request with one check of its host. Flask checks the host twice, and
    Werkzeug considers subdomains.
    """
    app.url_rule_class = LazyRule
    original = app.create_url_adapter

    def create_url_adapter(request: Request | None) -> MapAdapter | None:
        if request is None:
            return original(None)
        if (
            app.config["SERVER_NAME"]
            or app.config["TRUSTED_HOSTS"]
            or app.subdomain_matching
            or app.url_map.host_matching
            or "HTTP_UPGRADE" in request.environ
        ):
            return original(request)
        environ, scheme = request.environ, request.scheme
        request.host = host = get_host(scheme, environ.get("HTTP_HOST"), request.server)
        return app.url_map.bind(
            host,
            script_name=decode(environ.get("SCRIPT_NAME", "")),
            url_scheme=scheme,
            default_method=environ["REQUEST_METHOD"],
            path_info=decode(environ.get("PATH_INFO", "")),
            query_args=decode(environ.get("QUERY_STRING", "")),
        )

    app.create_url_adapter = create_url_adapter  # type: ignore[method-assign]


def decode(value: str) -> str:
    """Return the text of a value in `environ`: bytes as Latin-1 (PEP 3333)."""
    return value if value.isascii() else value.encode("latin-1").decode(errors="replace")
