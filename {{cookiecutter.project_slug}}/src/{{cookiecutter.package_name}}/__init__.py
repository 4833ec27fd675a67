"""The application; `create_app` is its table of contents."""

from flask import Flask

from . import (
    api,
    assets,
    bodies,
    # {% if cookiecutter.__cache %}
    cache,
    # {% endif %}
    # {% if cookiecutter.__catalog %}
    catalog,
    # {% endif %}
    # {% if cookiecutter.__database %}
    database,
    # {% endif %}
    errors,
    health,
    http_caching,
    json_provider,
    limits,
    logs,
    # {% if cookiecutter.web_pages %}
    pages,
    # {% endif %}
    # {% if cookiecutter.__primes %}
    primes,
    # {% endif %}
    proxies,
    security,
    # {% if cookiecutter.__tasks %}
    tasks,
    # {% endif %}
    # {% if cookiecutter.__titles %}
    titles,
    # {% endif %}
)
from .config import Settings, load_settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application: each part once, in the order in which they are set up."""
    app = Flask(__name__)
    app.config.from_object(settings or load_settings())

    logs.init_app(app)
    json_provider.init_app(app)
    errors.init_app(app)
    bodies.init_app(app)
    http_caching.init_app(app)
    health.init_app(app)
    # {% if cookiecutter.__database %}
    database.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__cache %}
    cache.init_app(app)
    # {% endif %}
    limits.init_app(app)
    # {% if cookiecutter.__tasks %}
    tasks.init_app(app)
    # {% endif %}
    api.init_app(app)
    # {% if cookiecutter.web_pages %}
    pages.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__catalog %}
    catalog.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__primes %}
    primes.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__titles %}
    titles.init_app(app)
    # {% endif %}
    assets.init_app(app)
    security.init_app(app)
    proxies.init_app(app)

    return app
