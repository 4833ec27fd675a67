"""Rate limits for each client: for writes, and for views with the decorator `rate_limit`."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask, current_app, request
from limits import parse
from limits.storage import MemoryStorage

from ...config import Settings, get_settings
from .. import SAFE_METHODS, hooks
from . import (
    # {% if cookiecutter.reverse_proxy == "none" %}
    global_limit,
    # {% endif %}
    limiter,
    # {% if cookiecutter.__cache_server %}
    storage,
    # {% endif %}
)

View = Callable[..., Any]

# Attribute of a view whose limit replaces RATE_LIMIT_WRITES.
OWN_LIMIT = "has_own_rate_limit"


def init_app(app: Flask) -> None:
    """Limit writes to RATE_LIMIT_WRITES for each client."""
    counters: limiter.CounterStorage = MemoryStorage()
    # {% if cookiecutter.reverse_proxy == "none" %}
    global_limit.init_app(app, counters)
    # {% endif %}
    # {% if cookiecutter.__cache_server %}
    counters = storage.FallbackStorage(app, counters)
    # {% endif %}
    app.extensions["rate_limiting"] = counters
    writes = limiter.FixedWindowLimiter("writes", get_settings(app).RATE_LIMIT_WRITES)

    def limit_writes(environ: WSGIEnvironment) -> None:
        if environ["REQUEST_METHOD"] not in SAFE_METHODS and not has_own_limit():
            writes.hit(counters)

    hooks.before_request(app, limit_writes)


def has_own_limit() -> bool:
    """Return whether the view has a rate limit that replaces RATE_LIMIT_WRITES."""
    return hasattr(current_app.view_functions.get(request.endpoint or ""), OWN_LIMIT)


def rate_limit(limit: str, *, replaces_writes: bool = False) -> Callable[[View], View]:
    """Limit how often each client may request a view: `@rate_limit("10/minute")`.

    The limit may also be the name of a setting, such as `"RATE_LIMIT_IMPORTS"`. Place the decorator
    below the route and above what it protects. Above the limit, the response is 429. With
    `replaces_writes` the view does not count for RATE_LIMIT_WRITES.
    """
    if limit not in Settings.__struct_fields__:
        parse(limit)  # A mistake is an error at import.

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(**arguments: Any) -> Any:
            text = getattr(get_settings(), limit, limit)
            name = request.endpoint or view.__name__
            limiter.get_limiter(name, text).hit(current_app.extensions["rate_limiting"])
            return view(**arguments)

        if replaces_writes:
            setattr(wrapper, OWN_LIMIT, True)
        return wrapper

    return decorate
