"""The application factory."""

import gc
import os

# What modules create stays, so collections while importing are in vain. They and the first one
# after them take a fifth of the time.
gc.disable()

from flask import Flask

from . import (
    # {% if cookiecutter.__catalog %}
    catalog,
    # {% endif %}
    config,
    # {% if cookiecutter.__examples %}
    examples,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    web,
    # {% endif %}
)
from .core import (
    # {% if cookiecutter.__auth %}
    access,
    # {% endif %}
    api,
    assets,
    # {% if cookiecutter.__auth %}
    auth,
    # {% endif %}
    # {% if cookiecutter.__cache %}
    cache,
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    cassandra,
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    cdn,
    # {% endif %}
    # {% if cookiecutter.reverse_proxy == "none" %}
    compression,
    # {% endif %}
    cors,
    # {% if cookiecutter.__sql %}
    database,
    # {% endif %}
    # {% if cookiecutter.error_tracking == "sentry" %}
    error_tracking,
    # {% endif %}
    errors,
    health,
    hooks,
    http_caching,
    # {% if cookiecutter.__http_client %}
    http_client,
    # {% endif %}
    json_provider,
    logs,
    # {% if cookiecutter.__mail %}
    mail,
    # {% endif %}
    # {% if cookiecutter.database == "mongodb" %}
    mongodb,
    # {% endif %}
    # {% if cookiecutter.__monitoring %}
    monitoring,
    # {% endif %}
    proxy_fix,
    rate_limiting,
    request_body,
    responses,
    security,
    # {% if cookiecutter.__tasks %}
    tasks,
    # {% endif %}
    url_rules,
    view_functions,
    worker_threads,
)
# {% if cookiecutter.auth == "jwt" %}
from .core.http_client import upstreams
# {% endif %}
# {% if cookiecutter.__web_vitals %}
from .core.monitoring import web_vitals
# {% endif %}

# Together, these move all objects to the oldest generation. The next collection would visit them.
gc.freeze()
gc.unfreeze()
gc.enable()

# Limit DNS lookups to 2 s with one name server, instead of 10 (resolv.conf). No client does.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")


def create_app(settings: config.Settings | None = None) -> Flask:
    """Return an application with these settings, or with those of the environment."""
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    app.extensions["settings"] = settings = settings or config.load_settings()
    # Flask and its extensions read settings from `app.config`; your code calls `get_settings`.
    app.config.from_object(settings)

    # The order matters. A request passes the WSGI middlewares from the last one below to the
    # first: trusted proxies, security headers, static files, limit of request bodies, request log,
    # worker threads. Flask then calls the functions before the request, which `hooks` joins, in
    # the order below: request body, rate limits, host and origin.
    # {% if cookiecutter.__auth %}
    # The access rule of the view comes last.
    # {% endif %}
    # The view follows, with its decorators. The functions after the request run in reverse order:
    # CORS, 304, compression, length of streams.
    url_rules.init_app(app)
    view_functions.init_app(app)
    hooks.init_app(app)
    responses.init_app(app)
    worker_threads.init_app(app)
    logs.init_app(app)
    # {% if cookiecutter.error_tracking == "sentry" %}
    error_tracking.init_app(app)
    # {% endif %}
    json_provider.init_app(app)
    errors.init_app(app)
    request_body.init_app(app)
    # {% if cookiecutter.reverse_proxy == "none" %}
    compression.init_app(app)
    # {% endif %}
    http_caching.init_app(app)
    # {% if cookiecutter.__cdn %}
    cdn.init_app(app)
    # {% endif %}
    health.init_app(app)
    # {% if cookiecutter.__sql %}
    database.init_app(app)
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    cassandra.init_app(app)
    # {% endif %}
    # {% if cookiecutter.database == "mongodb" %}
    mongodb.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__cache %}
    cache.init_app(app)
    # {% endif %}
    rate_limiting.init_app(app)
    # {% if cookiecutter.__tasks %}
    tasks.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__mail %}
    mail.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__http_client %}
    http_client.init_app(app)
    # {% endif %}
    # {% if cookiecutter.auth == "jwt" %}
    upstreams.init_app(app)
    # {% endif %}
    api.init_app(app)
    # {% if cookiecutter.web_pages %}
    web.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__web_vitals %}
    web_vitals.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__catalog %}
    catalog.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__examples %}
    examples.init_app(app)
    # {% endif %}
    if app.debug:
        # Production does not import it.
        from .core import debug_panel

        debug_panel.init_app(app)
    assets.init_app(app)
    security.init_app(app)
    cors.init_app(app)
    # {% if cookiecutter.__auth %}
    auth.init_app(app)
    # {% endif %}
    proxy_fix.init_app(app)
    # {% if cookiecutter.__cdn_peers %}
    cdn.trusted_peers.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__auth %}
    access.require_rules(app)
    # {% endif %}
    # {% if cookiecutter.__monitoring %}
    monitoring.init_app(app)
    # {% endif %}

    return app
