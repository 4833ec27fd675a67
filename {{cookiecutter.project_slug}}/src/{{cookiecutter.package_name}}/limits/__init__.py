"""Rate limits per client: of requests that write, and of views that say so."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, current_app, request
from limits.storage import MemoryStorage

from . import (
    # {% if cookiecutter.reverse_proxy == "none" %}
    everything,
    # {% endif %}
    limit,
    # {% if cookiecutter.__cache_server %}
    shared,
    # {% endif %}
)

View = Callable[..., Any]

READING = {"GET", "HEAD", "OPTIONS"}
PREFIX = "RATE_LIMIT_"


def init_app(app: Flask) -> None:
    """Make a limit of each setting RATE_LIMIT_…, and keep that on requests that write."""
    counts: limit.Counts = MemoryStorage()
    # {% if cookiecutter.reverse_proxy == "none" %}
    everything.init_app(app, counts)
    # {% endif %}
    # {% if cookiecutter.__cache_server %}
    counts = shared.SharedCounts(app, counts)
    # {% endif %}
    settings = [name for name in app.config if name.startswith(PREFIX)]
    app.extensions["limits"] = {
        name: limit.Limit(name.removeprefix(PREFIX).lower(), app.config[name], counts)
        for name in settings
    }
    writes = app.extensions["limits"]["RATE_LIMIT_WRITES"]

    @app.before_request
    def count_writes() -> None:
        if request.method not in READING:
            writes.spend()


def limited(setting: str) -> Callable[[View], View]:
    """Limit how often each client may ask a view: as often as a setting RATE_LIMIT_… says.

    It goes below the route and above what the limit is to protect.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def counted(**arguments: Any) -> Any:
            current_app.extensions["limits"][setting].spend()
            return view(**arguments)

        return counted

    return decorate
