"""Proxies in front: whom the application believes when it is told for whom a request is."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

# {% if cookiecutter.__cdn_peers %}
from . import cdn

# {% endif %}

def init_app(app: Flask) -> None:
    """Believe as many proxies as the settings say there are."""
    if hops := app.config["TRUSTED_PROXY_HOPS"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            x_for=hops,
            x_proto=hops,
            x_host=hops,
        )
        # {% if cookiecutter.__cdn_peers %}
        cdn.init_app(app)
        # {% endif %}
