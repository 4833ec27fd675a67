"""The store behind the decorators: stampede protection, tags, and a circuit breaker."""

import math
import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
# {% if cookiecutter.__auth %}
from functools import partial
# {% endif %}
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from ...config import Settings
# {% if cookiecutter.__metrics %}
from .. import logs, monitoring
# {% else %}
from .. import logs
# {% endif %}
# {% if cookiecutter.__auth %}
from ..auth.identity import acting_as
# {% endif %}

# The circuit opens after this many connection errors in a row: a single one may be an accident.
FAILURE_THRESHOLD = 3
CIRCUIT_OPEN_SECONDS = 1.0
WARNING_INTERVAL_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.02
# Callers compute a value that cannot be cached concurrently, without a lock, for this long.
UNCACHEABLE_SECONDS = 2.0
# All releases share the tags, so that a change by one release invalidates the values of the others.
TAG_NAMESPACE = "all:tag:"
# Longer than the TTL of any value: a value whose tag has expired counts as invalidated.
TAG_TTL = 7 * 24 * 3600
# Other processes add keys while the cache is cleared.
MAX_CLEAR_PASSES = 5

MISSING = object()
UNCACHEABLE = object()

# What msgspec raises for data that is not an entry; the last is for text and response headers.
DECODE_ERRORS = (msgspec.DecodeError, RecursionError, TypeError, ValueError)
# What a client library raises when a server does not speak its protocol.
PROTOCOL_ERRORS = (AttributeError, LookupError, TypeError, ValueError)


class Backend(Protocol):
    """Storage for values; TTLs are in seconds."""

    is_shared: bool  # by all processes
    errors: tuple[type[Exception], ...]  # everything it raises
    connection_errors: tuple[type[Exception], ...]  # those that count for the circuit breaker
    options: dict[str, Any]  # arguments for the rate limiter's storage of the same URL

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""

    def set(self, key: str, value: bytes, ttl: int) -> None:
        """Store a value."""

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        """Store a value unless the key exists; return whether it was stored. Atomic."""

    def delete(self, keys: Collection[str]) -> None:
        """Delete keys; missing ones are ignored."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Iterate over all keys with a prefix."""

    def ping(self) -> None:
        """Raise an error if the backend is unavailable."""


class Codec(NamedTuple):
    """Functions that encode a value, to None if it must not be cached, and decode it."""

    encode: Callable[[Any], bytes | None]
    decode: Callable[[bytes], Any]


class Entry(msgspec.Struct, array_like=True):
    """A stored value, which is None if it cannot be cached, and the versions of its tags."""

    fresh_until: float
    versions: list[bytes]
    value: bytes | None


class CacheKeys(NamedTuple):
    """The keys of a value, of its lock, and of its tags."""

    value: str
    lock: str
    tags: list[str]
    tag_names: Sequence[str]


class Lookup(NamedTuple):
    """The result of a lookup: a value, `MISSING` or `UNCACHEABLE`."""

    value: Any
    is_fresh: bool
    versions: Sequence[bytes | None]


# MessagePack is data: nothing that a server returns is executed.
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode


# {% if cookiecutter.__auth %}
def call_publicly(compute: Callable[[], Any]) -> Any:
    """Call a function as for an unknown client."""
    with acting_as(None):
        return compute()


# {% endif %}
class Store:
    """A cache in a backend that other services and releases may share."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend = backend
        self.errors: tuple[type[Exception], ...] = (*backend.errors, *PROTOCOL_ERRORS)
        self.connection_errors = (*backend.connection_errors, *PROTOCOL_ERRORS)
        self.prefix = f"{settings.CACHE_PREFIX}:"
        self.release = f"{self.prefix}{settings.CACHE_VERSION}:"
        self.stale_ttl = settings.CACHE_STALE_TTL
        self.lock_timeout: float = settings.CACHE_LOCK_TIMEOUT
        self.lock = Lock()
        self.pending_invalidations: set[str] = set()
        self.consecutive_failures = 0
        self.circuit_open_until = 0.0
        self.next_warning_at = 0.0
        self.log = structlog.get_logger().bind()
        # Whether the caller has changed rows with these tags and not committed yet.
        self.has_uncommitted_changes: Callable[[Sequence[str]], bool] = lambda _: False
        # The seconds that the caller may still wait.
        self.remaining_seconds: Callable[[], float] = lambda: math.inf

    def get_or_compute(
        self,
        name: str,
        tags: Sequence[str],
        ttl: float,
        codec: Codec,
        compute: Callable[[], Any],
    ) -> Any:
        """Return the value that is cached under a name, or compute and cache it.

        After `ttl` seconds one caller computes a new value; the others get the stale one, for up to
        CACHE_STALE_TTL seconds. Without a stale value they wait, for up to CACHE_LOCK_TIMEOUT.
        """
        # {% if cookiecutter.__auth %}
        # Everybody may get the value, so it must not depend on the identity.
        compute = partial(call_publicly, compute)
        # {% endif %}
        if self.has_uncommitted_changes(tags):
            return compute()
        keys = self.name_keys(name, tags)
        found = self.lookup(keys, codec)
        if found is None:
            return compute()
        lock_expires = 0.0
        if not found.is_fresh:
            lock_expires, found = self.acquire_lock_or_wait(keys, codec, found)
        try:
            if found.value is not MISSING and (found.is_fresh or not lock_expires):
                if found.value is UNCACHEABLE:
                    return compute()
                logs.add_metric("cache_hits" if found.is_fresh else "cache_stale", 1)
                return found.value
            logs.add_metric("cache_misses", 1)
            return self.compute_and_save(keys, ttl, codec, compute, found)
        finally:
            # A lock that has expired may belong to another caller.
            if time.monotonic() < lock_expires:
                self.call(self.backend.delete, [keys.lock])

    # {% if cookiecutter.__identity_cache %}
    def get_fresh_or_compute(
        self,
        name: str,
        tags: Sequence[str],
        ttl: float,
        codec: Codec,
        compute: Callable[[], Any],
    ) -> Any:
        """Return the value that is cached under a name, or compute and cache it.

        Unlike `get_or_compute` it never returns a stale value, and callers compute concurrently.
        """
        keys = self.name_keys(name, tags)
        found = self.lookup(keys, codec)
        if found is None:
            return compute()
        if found.is_fresh and found.value is not MISSING:
            return found.value
        versions = self.ensure_tag_versions(keys.tags, found.versions)
        value = compute()
        encoded = codec.encode(value)
        if encoded is not None:
            self.save(keys, versions, ttl, encoded)
        return value

    # {% endif %}
    def name_keys(self, name: str, tags: Sequence[str]) -> CacheKeys:
        """Return the keys of a value."""
        digest = blake2b(name.encode(), digest_size=16).hexdigest()
        return CacheKeys(
            f"{self.release}value:{digest}",
            f"{self.release}lock:{digest}",
            [f"{self.prefix}{TAG_NAMESPACE}{tag}" for tag in tags],
            tags,
        )

    def compute_and_save(
        self,
        keys: CacheKeys,
        ttl: float,
        codec: Codec,
        compute: Callable[[], Any],
        found: Lookup,
    ) -> Any:
        """Compute a value and store it, or store that it cannot be cached."""
        versions = self.ensure_tag_versions(keys.tags, found.versions)
        encoded = None
        try:
            value = compute()
            encoded = codec.encode(value)
            return value
        finally:
            # Computing the value may have flushed changes.
            if not self.has_uncommitted_changes(keys.tag_names):
                if encoded is not None:
                    self.save(keys, versions, ttl, encoded)
                elif found.value is MISSING or found.value is UNCACHEABLE:
                    self.save(keys, versions, UNCACHEABLE_SECONDS, None)

    def acquire_lock_or_wait(
        self, keys: CacheKeys, codec: Codec, found: Lookup
    ) -> tuple[float, Lookup]:
        """Acquire the lock of a value, or wait for its holder unless there is a stale value.

        Return the monotonic time at which the lock expires, or 0 without the lock.
        """
        deadline = time.monotonic() + min(self.lock_timeout, self.remaining_seconds())
        while True:
            expires = time.monotonic() + self.lock_timeout
            is_acquired = self.call(self.backend.add, keys.lock, b"1", self.lock_timeout)
            if is_acquired:
                # Another caller may have stored the value since the lookup.
                return expires, self.lookup(keys, codec) or found
            is_unavailable = is_acquired is None
            if is_unavailable or found.value is not MISSING or time.monotonic() >= deadline:
                return 0.0, found
            self.wait()
            found = self.lookup(keys, codec) or found

    def wait(self) -> None:
        """Wait for the holder of a lock."""
        time.sleep(LOCK_POLL_SECONDS)

    def lookup(self, keys: CacheKeys, codec: Codec) -> Lookup | None:
        """Look a value up, in one round trip; return None if the cache is unavailable."""
        found = self.call(self.backend.get_many, [keys.value, *keys.tags])
        if found is None:
            return None
        data, *versions = found
        try:
            if data is not None:
                entry = decode(data)
                if entry.versions == versions:
                    value = UNCACHEABLE if entry.value is None else codec.decode(entry.value)
                    return Lookup(value, time.time() < entry.fresh_until, versions)
        except DECODE_ERRORS as error:
            self.record_failure(error)
        return Lookup(MISSING, is_fresh=False, versions=versions)

    def ensure_tag_versions(
        self, tags: Sequence[str], versions: Sequence[bytes | None]
    ) -> Sequence[bytes | None]:
        """Give a version to each tag that has none, before the value is computed.

        An invalidation during the computation then makes the value invalid.
        """
        if None not in versions:
            return versions
        for tag, version in zip(tags, versions, strict=True):
            if version is None:
                self.call(self.backend.add, tag, os.urandom(8), TAG_TTL)
        return self.call(self.backend.get_many, tags) or [None]

    def save(
        self, keys: CacheKeys, versions: Sequence[bytes | None], ttl: float, value: bytes | None
    ) -> None:
        """Store a value, for up to 10 % less than its TTL, so that values expire one by one."""
        if None in versions:
            return
        fresh = ttl * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        entry = encode((time.time() + fresh, versions, value))
        self.call(self.backend.set, keys.value, entry, math.ceil(fresh + self.stale_ttl))

    def invalidate(self, *tags: str) -> None:
        """Invalidate all values with one of the tags, later if the cache is unavailable now."""
        with self.lock:
            self.pending_invalidations |= {f"{self.prefix}{TAG_NAMESPACE}{tag}" for tag in tags}
        try:
            self.flush_pending_invalidations()
        except self.errors as error:
            self.record_failure(error, is_outage=isinstance(error, self.connection_errors))

    def clear(self) -> int:
        """Delete all keys with our prefix, of all releases; return their number."""
        deleted = 0
        for _ in range(MAX_CLEAR_PASSES):
            keys = list(self.backend.keys(self.prefix))
            if not keys:
                break
            self.backend.delete(keys)
            deleted += len(keys)
        return deleted

    def call(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """Call the backend; return None if that fails or the circuit is open."""
        started = time.perf_counter()
        if time.monotonic() < self.circuit_open_until:
            return None
        try:
            if self.pending_invalidations:
                self.flush_pending_invalidations()
            result = operation(*arguments)
        except self.errors as error:
            self.record_failure(error, is_outage=isinstance(error, self.connection_errors))
            return None
        else:
            # {% if cookiecutter.__metrics %}
            if self.consecutive_failures:
                monitoring.cache_recovered()
            # {% endif %}
            self.consecutive_failures = 0
            return result
        finally:
            logs.add_metric("cache_ms", (time.perf_counter() - started) * 1000)

    def flush_pending_invalidations(self) -> None:
        """Invalidate the tags that changed since the last success."""
        with self.lock:
            pending, self.pending_invalidations = self.pending_invalidations, set()
        try:
            self.backend.delete(pending)
        except self.errors:
            with self.lock:
                self.pending_invalidations |= pending
            raise

    def record_failure(self, error: Exception, *, is_outage: bool = False) -> None:
        """Log an error, at most once per interval; open the circuit after several outages."""
        logs.add_metric("cache_errors", 1)
        now = time.monotonic()
        with self.lock:
            if is_outage:
                self.consecutive_failures += 1
                if self.consecutive_failures >= FAILURE_THRESHOLD:
                    self.circuit_open_until = now + CIRCUIT_OPEN_SECONDS
                    # {% if cookiecutter.__metrics %}
                    monitoring.cache_failed()
                    # {% endif %}
            is_due = now > self.next_warning_at
            if is_due:
                self.next_warning_at = now + WARNING_INTERVAL_SECONDS
        if is_due:
            self.log.warning("cache failed", error=f"{type(error).__name__}: {error}")
