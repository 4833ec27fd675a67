from collections.abc import Callable, Sequence

import msgspec

from {{ cookiecutter.package_name }}.cache.store import Codec, Store

CODEC = Codec(msgspec.msgpack.encode, msgspec.msgpack.Decoder(int).decode)


class Numbers:
    """Makes 1, 2, 3 …; a store keeps what was made last."""

    def __init__(self, store: Store, tags: Sequence[str] = (), lifetime: float = 60) -> None:
        self.store = store
        self.tags = tags
        self.lifetime = lifetime
        self.made = 0

    def make(self) -> int:
        self.made += 1
        return self.made

    def get(self, make: Callable[[], int] | None = None) -> int:
        number: int = self.store.get("number", self.tags, self.lifetime, CODEC, make or self.make)
        return number

    def put(self, entry: bytes) -> None:
        """Keep something else in its place, as if we had."""
        self.store.backend.set(self.key, self.store.sign(self.key, entry) + entry, 60)

    @property
    def key(self) -> str:
        """Where the number is kept."""
        (key,) = (key for key in self.store.backend.keys(self.store.release) if ":value:" in key)
        return key
