"""The cache: answers, query results and parts of pages, made once and read often."""

from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import msgspec
from flask import Flask, current_app

from .. import health
from ..config import SettingsError
from . import (
    commands,
    # {% if cookiecutter.cache == "filesystem" %}
    files,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    fragments,
    # {% endif %}
    # {% if cookiecutter.cache == "memcached" %}
    memcached,
    # {% endif %}
    memory,
    # {% if cookiecutter.cache == "redis" %}
    redis,
    # {% endif %}
    # {% if cookiecutter.__database %}
    rows,
    # {% endif %}
)
from .store import Codec, Store
from .views import keep_view

__all__ = ["get_cache", "init_app", "keep_view", "remember"]

BACKENDS: dict[str, Callable[[str, float], Any]] = {
    # {% if cookiecutter.cache == "redis" %}
    "redis": redis.RedisBackend,
    "rediss": redis.RedisBackend,
    # {% endif %}
    # {% if cookiecutter.cache == "memcached" %}
    "memcached": memcached.MemcachedBackend,
    # {% endif %}
    # {% if cookiecutter.cache == "filesystem" %}
    "file": files.FileBackend,
    # {% endif %}
    "memory": memory.MemoryBackend,
}

# What a URL raises that cannot be read, or that names a cache or an option that is not here.
MALFORMED = (KeyError, TypeError, ValueError)


def init_app(app: Flask) -> None:
    """Make the store, which connects when it is first used; the application works without it."""
    url = app.config["CACHE_URL"]
    try:
        backend = BACKENDS[urlsplit(url).scheme](url, app.config["CACHE_TIMEOUT"])
    except MALFORMED:
        raise SettingsError([f"CACHE_URL: expected {' or '.join(BACKENDS)}://…"]) from None
    app.extensions["cache"] = Store(backend, app.config)
    app.cli.add_command(commands.cache)
    health.add_check(app, "cache", backend.ping, is_vital=False)
    # {% if cookiecutter.web_pages %}
    fragments.init_app(app)
    # {% endif %}
    # {% if cookiecutter.__database %}
    rows.init_app(app)
    # {% endif %}


def get_cache() -> Store:
    """Return the current application's cache."""
    store: Store = current_app.extensions["cache"]
    return store


def remember(*tags: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep what a function returns, for each set of arguments.

    The type that the function is declared to return says how a stored value is read and checked.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        decoder = msgspec.msgpack.Decoder(get_type_hints(function)["return"])
        codec = Codec(msgspec.msgpack.encode, decoder.decode)
        name = f"{function.__module__}.{function.__qualname__}"

        @wraps(function)
        def answer(*arguments: Any) -> Any:
            return get_cache().get(
                f"{name}{arguments!r}",
                tags,
                current_app.config["CACHE_QUERY_LIFETIME"],
                codec,
                lambda: function(*arguments),
            )

        return answer

    return decorate
