"""The table of cache calls. The time of a miss includes computing the value."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from flask import Flask

from .record import add_row, find_origin, shorten


def init_app(app: Flask) -> None:
    """Wrap the methods of the store."""
    store = app.extensions["cache"]
    get_or_compute, invalidate = store.get_or_compute, store.invalidate

    def record_lookup(
        name: str, tags: Sequence[str], ttl: float, codec: Any, compute: Callable[[], Any]
    ) -> Any:
        result, started, origin = "hit", perf_counter(), find_origin()

        def compute_on_miss() -> Any:
            nonlocal result
            result = "miss"
            return compute()

        try:
            return get_or_compute(name, tags, ttl, codec, compute_on_miss)
        finally:
            names = ", ".join(tags)
            add_row("Cache", started, result=result, name=shorten(name), tags=names, origin=origin)

    def record_invalidation(*tags: str) -> None:
        started = perf_counter()
        invalidate(*tags)
        names = ", ".join(tags)
        add_row("Cache", started, result="invalidated", name="", tags=names, origin=find_origin())

    store.get_or_compute, store.invalidate = record_lookup, record_invalidation
