"""Sessions that ended before their cookie expires: copies of the cookie are not valid any more."""

from ....config import get_settings
from ...cache import get_store
from ...cache.store import Store


def revoke(session_id: str) -> None:
    """Revoke a session, in all processes. While the cache is unavailable, this is not possible."""
    store = get_store()
    ttl = get_settings().SESSION_TIMEOUT
    store.call(store.backend.set, name_key(store, session_id), b"1", ttl)


def is_revoked(session_id: str) -> bool:
    """Return whether a session has been revoked; False while the cache is unavailable."""
    store = get_store()
    found = store.call(store.backend.get_many, [name_key(store, session_id)])
    return found is not None and found[0] is not None


def name_key(store: Store, session_id: str) -> str:
    """Return the key of a session. `flask cache clear` does not delete it."""
    return f"{store.prefix.removesuffix(':')}-revoked-sessions:{session_id}"
