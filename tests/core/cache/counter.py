from collections.abc import Callable, Sequence

import msgspec

from {{ cookiecutter.package_name }}.core.cache.store import Codec, Store

CODEC = Codec(msgspec.msgpack.encode, msgspec.msgpack.Decoder(int).decode)


class CachedCounter:
    """Computes 1, 2, 3 …; a store caches the latest number."""

    def __init__(self, store: Store, tags: Sequence[str] = (), ttl: float = 60) -> None:
        self.store = store
        self.tags = tags
        self.ttl = ttl
        self.computed = 0

    def compute(self) -> int:
        self.computed += 1
        return self.computed

    def get(self, compute: Callable[[], int] | None = None) -> int:
        number: int = self.store.get_or_compute(
            "number", self.tags, self.ttl, CODEC, compute or self.compute
        )
        return number

    def overwrite(self, data: bytes) -> None:
        """Overwrite the stored entry."""
        self.store.backend.set(self.key, data, 60)

    @property
    def key(self) -> str:
        """The key of the number."""
        (key,) = (key for key in self.store.backend.keys(self.store.release) if ":value:" in key)
        return key
