"""Reads, makes, keeps and forgets: one caller at a time makes a value, and none depends on it."""

import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import blake2b, sha256
from hmac import compare_digest
from threading import Lock
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from .. import logs

# After so many outages in a row a cache is left alone for a while: one may be this machine's own
# hurry. Seconds: how long, and how rarely that is logged.
OUTAGES = 3
PAUSE = 1.0
WARN_EVERY = 30.0
# Seconds: how often those who wait for a value look for it, and how long a tag lives unless it is
# forgotten before. A value lives shorter, and one whose tag is gone counts as gone.
POLL = 0.02
# All releases share tags: what one of them writes the others forget, too.
TAGS = "all:tag:"
TAG_LIFETIME = 7 * 24 * 3600
# While it is emptied others fill it: so often it is looked for what is left.
SWEEPS = 5

MISSING = object()


class Backend(Protocol):
    """Where values are kept; lifetimes are in seconds."""

    errors: tuple[type[Exception], ...]  # all that it raises
    outages: tuple[type[Exception], ...]  # of these, what the next call would meet, too
    options: dict[str, Any]  # what the rate limiter's own storage needs for this URL

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value."""

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        """Keep a value unless there is one, and tell whether it was kept: never two of two."""

    def delete(self, keys: Collection[str]) -> None:
        """Forget values."""

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that begin so."""

    def describe(self) -> dict[str, Any]:
        """Say what it is and how full."""

    def ping(self) -> None:
        """Raise when it does not answer."""


class Codec(NamedTuple):
    """How a value becomes bytes, or None when it must not be kept, and how it is read back."""

    encode: Callable[[Any], bytes | None]
    decode: Callable[[bytes], Any]


class Entry(msgspec.Struct, array_like=True):
    """What is kept: a value, until when it is fresh, and the versions that its tags had."""

    fresh_until: float
    versions: list[bytes]
    value: bytes


class Slot(NamedTuple):
    """The keys of a value, of the right to make it, and of its tags."""

    value: str
    lock: str
    tags: list[str]


class Found(NamedTuple):
    """What a look into the cache gave."""

    value: Any
    is_fresh: bool
    versions: Sequence[bytes | None]


# MessagePack is data: whatever a server gives, nothing of it is executed. Its errors when it is not
# what we wrote; the last is for text, and for an answer's headers.
GARBAGE = (msgspec.DecodeError, RecursionError, TypeError, ValueError)
# What a client library raises when a server does not speak its protocol.
NONSENSE = (AttributeError, LookupError, TypeError, ValueError)
SIGNATURE = 16
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode


class Store:
    """A cache that other services and other releases may use, too."""

    def __init__(self, backend: Backend, config: Mapping[str, Any]) -> None:
        self.backend = backend
        self.errors: tuple[type[Exception], ...] = (*backend.errors, *NONSENSE)
        self.outages: tuple[type[Exception], ...] = (*backend.outages, *NONSENSE)
        self.prefix = f"{config['CACHE_PREFIX']}:"
        self.release = f"{self.prefix}{config['CACHE_VERSION']}:"
        self.stale = config["CACHE_STALE"]
        self.patience = config["CACHE_PATIENCE"]
        self.secret = sha256(config["SECRET_KEY"].encode()).digest()
        self.figures: Counter[str] = Counter()
        self.lock = Lock()
        self.missed: set[str] = set()
        self.outages_in_a_row = 0
        self.away_until = 0.0
        self.quiet_until = 0.0
        self.log = structlog.get_logger().bind()
        # Whether the caller has changed what has these tags, and not yet committed that.
        self.is_changing: Callable[[Sequence[str]], bool] = lambda _: False

    def get(
        self,
        name: str,
        tags: Sequence[str],
        lifetime: float,
        codec: Codec,
        make: Callable[[], Any],
    ) -> Any:
        """Return a value: the one that is kept under a name, or what `make` returns.

        After `lifetime` seconds one caller makes it anew; the others get the old one meanwhile, for
        CACHE_STALE seconds. Where there is none they wait for the new one, CACHE_PATIENCE seconds.
        """
        if self.is_changing(tags):
            return make()
        digest = blake2b(name.encode(), digest_size=16).hexdigest()
        slot = Slot(
            f"{self.release}value:{digest}",
            f"{self.release}lock:{digest}",
            [f"{self.prefix}{TAGS}{tag}" for tag in tags],
        )
        found = self.look(slot, codec)
        if found is None:
            return make()
        turn_ends = 0.0
        if not found.is_fresh:
            turn_ends, found = self.take_turn(slot, codec, found)
        try:
            if found.is_fresh or (found.value is not MISSING and not turn_ends):
                self.count("hits" if found.is_fresh else "stale")
                return found.value
            self.count("misses")
            versions = self.establish(slot.tags, found.versions)
            value = make()
            # Making it may have sent changes that waited for the next query.
            if not self.is_changing(tags):
                self.keep(slot, versions, lifetime, codec.encode(value))
            return value
        finally:
            # A turn that has ended may be another caller's now.
            if time.monotonic() < turn_ends:
                self.ask(self.backend.delete, [slot.lock])

    def take_turn(self, slot: Slot, codec: Codec, found: Found) -> tuple[float, Found]:
        """Take the right to make a value, or wait for who has it, unless the old value will do.

        Tells when our turn ends, by the monotonic clock; 0 if it is not ours.
        """
        deadline = time.monotonic() + self.patience
        while True:
            ends = time.monotonic() + self.patience
            is_ours = self.ask(self.backend.add, slot.lock, b"1", self.patience)
            if is_ours:
                # Between our look and our turn somebody may have made it.
                return ends, self.look(slot, codec) or found
            is_away = is_ours is None
            if is_away or found.value is not MISSING or time.monotonic() >= deadline:
                return 0.0, found
            self.pause()
            found = self.look(slot, codec) or found

    def pause(self) -> None:
        """Give who makes a value some time."""
        time.sleep(POLL)

    def look(self, slot: Slot, codec: Codec) -> Found | None:
        """Look for a value, in one round trip; None when the cache does not answer."""
        answer = self.ask(self.backend.get_many, [slot.value, *slot.tags])
        if answer is None:
            return None
        data, *versions = answer
        try:
            if data is not None:
                entry = decode(self.open(slot.value, data))
                if entry.versions == versions:
                    return Found(
                        codec.decode(entry.value), time.time() < entry.fresh_until, versions
                    )
        except GARBAGE as error:
            self.fail(error, is_outage=False)
        return Found(MISSING, is_fresh=False, versions=versions)

    def sign(self, key: str, entry: bytes) -> bytes:
        """Sign what is kept under a key: nobody else's bytes are read, however well formed."""
        signature = blake2b(key.encode(), digest_size=SIGNATURE, key=self.secret)
        signature.update(entry)
        return signature.digest()

    def open(self, key: str, data: bytes) -> bytes:
        """Return what we kept; raise ValueError for anything else."""
        entry = data[SIGNATURE:]
        if not compare_digest(self.sign(key, entry), data[:SIGNATURE]):
            raise ValueError("not what was kept")
        return entry

    def establish(
        self,
        tags: Sequence[str],
        versions: Sequence[bytes | None],
    ) -> Sequence[bytes | None]:
        """Give a version to each tag that has none; known before the value is made.

        So a value that was read before a change is never taken for one that was read after it.
        """
        if None not in versions:
            return versions
        for tag, version in zip(tags, versions, strict=True):
            if version is None:
                self.ask(self.backend.add, tag, os.urandom(8), TAG_LIFETIME)
        return self.ask(self.backend.get_many, tags) or [None]

    def keep(
        self,
        slot: Slot,
        versions: Sequence[bytes | None],
        lifetime: float,
        value: bytes | None,
    ) -> None:
        """Keep a value, not quite for its lifetime: else all that was made at once ends at once."""
        if value is None or None in versions:
            return
        fresh = lifetime * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        entry = encode((time.time() + fresh, versions, value))
        data = self.sign(slot.value, entry) + entry
        self.ask(self.backend.set, slot.value, data, math.ceil(fresh + self.stale))

    def forget(self, *tags: str) -> None:
        """Forget all values that have one of the tags; a cache that is away is told later."""
        keys = {f"{self.prefix}{TAGS}{tag}" for tag in tags}
        try:
            self.backend.delete(keys)
        except self.errors as error:
            with self.lock:
                self.missed |= keys
            self.fail(error, is_outage=isinstance(error, self.outages))

    def clear(self) -> int:
        """Forget everything below our prefix, and nothing else; return how many keys it were."""
        forgotten = 0
        for _ in range(SWEEPS):
            keys = list(self.backend.keys(self.prefix))
            if not keys:
                break
            self.backend.delete(keys)
            forgotten += len(keys)
        return forgotten

    def ask(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """Use the backend, if it did not just fail; None when it fails."""
        started = time.perf_counter()
        if time.monotonic() < self.away_until:
            return None
        try:
            if self.missed:
                self.catch_up()
            answer = operation(*arguments)
        except self.errors as error:
            self.fail(error, is_outage=isinstance(error, self.outages))
            return None
        else:
            self.outages_in_a_row = 0
            return answer
        finally:
            logs.add("cache_ms", (time.perf_counter() - started) * 1000)

    def catch_up(self) -> None:
        """Forget what changed while the cache was away."""
        with self.lock:
            missed, self.missed = self.missed, set()
        try:
            self.backend.delete(missed)
        except self.errors:
            with self.lock:
                self.missed |= missed
            raise

    def fail(self, error: Exception, *, is_outage: bool) -> None:
        """Note a failure; after some outages leave the backend alone for a moment."""
        self.count("errors")
        now = time.monotonic()
        with self.lock:
            if is_outage:
                self.outages_in_a_row += 1
                if self.outages_in_a_row >= OUTAGES:
                    self.away_until = now + PAUSE
            is_due = now > self.quiet_until
            if is_due:
                self.quiet_until = now + WARN_EVERY
        if is_due:
            self.log.warning("cache failed", error=f"{type(error).__name__}: {error}")

    def count(self, figure: str) -> None:
        """Add to the figures of the process, and to those of the request's log line."""
        with self.lock:
            self.figures[figure] += 1
        logs.add(f"cache_{figure}", 1)
