"""Examples: an endpoint with a cached response, and a call to another site.

`make remove-example` removes them.
"""

from flask import Flask

from . import (
    # {% if cookiecutter.__page_titles %}
    page_titles,
    # {% endif %}
    primes,
)


def init_app(app: Flask) -> None:
    """Register the blueprints."""
    app.register_blueprint(primes.blueprint)
    # {% if cookiecutter.__page_titles %}
    app.register_blueprint(page_titles.blueprint)
    # {% endif %}
