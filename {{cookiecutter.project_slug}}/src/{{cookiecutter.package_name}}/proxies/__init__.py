"""Proxies in front: whom the application believes when it is told for whom a request is."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

# {% if cookiecutter.__cdn_peers %}
from . import cdn

# {% endif %}
# What each of them says: the client's address, the scheme, the host.
SAID = ("x_for", "x_proto", "x_host")


def init_app(app: Flask) -> None:
    """Believe as many proxies as the settings say there are."""
    if hops := app.config["TRUSTED_PROXY_HOPS"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            **dict.fromkeys(SAID, hops),
        )
        # {% if cookiecutter.__cdn_peers %}
        cdn.init_app(app)
        # {% endif %}
