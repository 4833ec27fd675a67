"""Caching of responses, function results and parts of pages; `cache` has Flask-Caching's names."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec
from flask import Flask, current_app, make_response, request

from ...config import RENAMED, Settings, get_settings, register_client, take_client
from .. import (
    # {% if cookiecutter.__pooled %}
    database,
    # {% endif %}
    health,
    http_caching,
)
from ..tags import Tag, Tags, tag_names
from . import (
    commands,
    # {% if cookiecutter.cache == "filesystem" %}
    filesystem,
    # {% endif %}
    # {% if cookiecutter.web_pages %}
    fragments,
    # {% endif %}
    # {% if cookiecutter.__sql %}
    invalidation,
    # {% endif %}
    # {% if cookiecutter.cache == "memcached" %}
    memcached,
    # {% endif %}
    memory,
    # {% if cookiecutter.cache == "redis" %}
    redis,
    # {% endif %}
    responses,
)
from .store import Codec, Store

__all__ = ["cache", "get_store", "init_app"]

P = ParamSpec("P")
R = TypeVar("R")
View = Callable[..., Any]

CACHEABLE_METHODS = {"GET", "HEAD"}

BACKENDS: dict[str, Any] = {
    # {% if cookiecutter.cache == "redis" %}
    "redis": redis.RedisBackend,
    "rediss": redis.RedisBackend,
    # {% endif %}
    # {% if cookiecutter.cache == "memcached" %}
    "memcached": memcached.MemcachedBackend,
    # {% endif %}
    # {% if cookiecutter.cache == "filesystem" %}
    "file": filesystem.FileBackend,
    # {% endif %}
    "memory": memory.MemoryBackend,
}

RENAMED.update(
    CACHE_FRAGMENT_LIFETIME="CACHE_FRAGMENT_TTL",
    CACHE_PATIENCE="CACHE_LOCK_TIMEOUT",
    CACHE_QUERY_LIFETIME="CACHE_QUERY_TTL",
    CACHE_STALE="CACHE_STALE_TTL",
    CACHE_VIEW_LIFETIME="CACHE_VIEW_TTL",
)


class Cache:
    """The cache of the current application. TTLs are in seconds."""

    def cached(self, *, ttl: int | None = None, tags: Tags = ()) -> Callable[[View], View]:
        """Cache the responses of a view, one for each URL, for `ttl` or CACHE_VIEW_TTL seconds.

        Only a response that is the same for everybody is cached: status 200, to a request without
        cookie and `Authorization`, that neither uses the session nor sets a cookie or `Vary`, is
        not streamed, and is not declared `private`, `no-cache` or `no-store`.
        """
        names = tag_names(tags)

        def decorate(view: View) -> View:
            @wraps(view)
            def wrapper(**arguments: Any) -> Any:
                if request.method not in CACHEABLE_METHODS or http_caching.has_credentials():
                    return view(**arguments)
                return get_store().get_or_compute(
                    responses.cache_key(),
                    names,
                    ttl or get_settings().CACHE_VIEW_TTL,
                    responses.CODEC,
                    lambda: make_response(view(**arguments)),
                )

            return wrapper

        return decorate

    def memoize(
        self, *, ttl: int | None = None, tags: Tags = ()
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Cache what a function returns, for each set of arguments, for CACHE_QUERY_TTL seconds.

        Cached values are decoded as the type that the function is annotated to return.
        """
        names = tag_names(tags)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            decoder = msgspec.msgpack.Decoder(get_type_hints(function)["return"])
            codec = Codec(msgspec.msgpack.encode, decoder.decode)
            name = f"{function.__module__}.{function.__qualname__}"

            @wraps(function)
            def wrapper(*arguments: P.args, **named: P.kwargs) -> R:
                result: R = get_store().get_or_compute(
                    f"{name}{arguments!r}{sorted(named.items())!r}",
                    names,
                    ttl or get_settings().CACHE_QUERY_TTL,
                    codec,
                    lambda: function(*arguments, **named),
                )
                return result

            return wrapper

        return decorate

    def invalidate(self, *tags: Tag) -> None:
        """Invalidate all values with one of the tags, in all processes.

        Commits do this for the models that they change; textual SQL and other programs do not.
        """
        get_store().invalidate(*tag_names(tags))

    def clear(self) -> int:
        """Delete all keys that begin with CACHE_PREFIX, of all releases; return their number."""
        return get_store().clear()


cache = Cache()


def init_app(app: Flask) -> None:
    """Create the store, which connects on first use; the application works without it."""
    settings = get_settings(app)
    backend = take_client("CACHE_URL", settings)
    app.extensions["cache"] = Store(backend, settings)
    app.cli.add_command(commands.cache)
    health.add_check(app, "cache", backend.ping, required=False)
    # {% if cookiecutter.web_pages %}
    app.jinja_env.add_extension(fragments.CacheExtension)
    # {% endif %}
    # {% if cookiecutter.__sql %}
    invalidation.init_app(app)
    # {% elif cookiecutter.__nosql %}
    # A write invalidates the values with the tag of what it changes.
    app.extensions["operations"].on_change = app.extensions["cache"].invalidate
    # {% endif %}
    # {% if cookiecutter.__pooled %}
    # The request that computes a value may be waiting for the database.
    timeouts = database.timeouts.Timeouts(settings)
    app.extensions["cache"].remaining_seconds = timeouts.remaining_for_lock
    # {% endif %}


def create_backend(name: str, settings: Settings) -> Any:
    """Create the client for the URL in a setting."""
    url = getattr(settings, name)
    ca_file = getattr(settings, "CACHE_CA_FILE", "")
    return BACKENDS[urlsplit(url).scheme](url, settings.CACHE_TIMEOUT, ca_file)


register_client(
    create_backend,
    "CACHE_URL",
    expected=" or ".join(dict.fromkeys(backend.url_form for backend in BACKENDS.values())),
)


def get_store() -> Store:
    """Return the store of the current application."""
    store: Store = current_app.extensions["cache"]
    return store
