"""Spans of the cache: lookups and writes. Keys are not recorded, since they contain URLs."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, get_current_span

from ....config import Settings
from ...cache.store import MISSING, CacheKeys, Codec, Lookup, Store
from .tracing import running, tracing


def instrument(store: Store, settings: Settings) -> None:
    """Wrap the methods of the store that call its backend."""
    system = urlsplit(settings.CACHE_URL).scheme
    lookup, save, invalidate = store.lookup, store.save, store.invalidate

    def start(operation: str) -> Span:
        span = tracing.start_child(f"cache {operation}", SpanKind.CLIENT)
        span.set_attribute("db.system.name", system)
        span.set_attribute("db.operation.name", operation)
        return span

    def traced_lookup(keys: CacheKeys, codec: Codec) -> Lookup | None:
        if not get_current_span().is_recording():
            return lookup(keys, codec)
        span = start("get")
        with running(span):
            found = lookup(keys, codec)
            span.set_attribute("cache.hit", found is not None and found.value is not MISSING)
        return found

    def traced_save(
        keys: CacheKeys, versions: Sequence[bytes | None], ttl: float, value: bytes | None
    ) -> None:
        with running(start("set")):
            save(keys, versions, ttl, value)

    def traced_invalidate(*tags: str) -> None:
        with running(start("delete")):
            invalidate(*tags)

    store.lookup = traced_lookup  # type: ignore[method-assign]
    store.save = traced_save  # type: ignore[method-assign]
    store.invalidate = traced_invalidate  # type: ignore[method-assign]
