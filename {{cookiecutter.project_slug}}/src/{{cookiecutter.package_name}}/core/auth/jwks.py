"""The public keys of an issuer (JSON Web Key Set, RFC 7517)."""

import time
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import structlog
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet
from werkzeug.exceptions import ServiceUnavailable

TTL = 300
# Least seconds between two requests, so that tokens with unknown keys cause no flood.
REFRESH_INTERVAL = 10
TIMEOUT = 2
MAX_BYTES = 1024 * 1024

# Errors of the request, and of what it returned.
FETCH_ERRORS = (OSError, HTTPException, JoseError, KeyError, TypeError, ValueError)


class KeySetCache:
    """The keys of a URL. They are fetched again after `TTL` seconds, or for an unknown key ID."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str | None, Key] = {}
        self.fetched_at = float("-inf")
        self.lock = Lock()

    def find_key(self, token: Any) -> Key:
        """Return the key that a token names; raise `InvalidKeyIdError` if there is none.

        Respond with 503 if no keys could be fetched.
        """
        kid: str | None = token.headers().get("kid")
        age = time.monotonic() - self.fetched_at
        is_unknown = kid not in self.keys and age > REFRESH_INTERVAL
        if age > TTL or is_unknown or not self.keys:
            self.refresh()
        if not self.keys:
            message = "The keys of the token's issuer are unavailable."
            raise ServiceUnavailable(message, retry_after=5)
        if kid is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        if kid not in self.keys:
            raise InvalidKeyIdError(kid)
        return self.keys[kid]

    def refresh(self) -> None:
        """Fetch the keys, and keep the old ones if that fails.

        Other threads wait for it only if there are no keys yet.
        """
        if not self.lock.acquire(blocking=not self.keys):
            return
        try:
            if time.monotonic() - self.fetched_at > REFRESH_INTERVAL:
                self.fetched_at = time.monotonic()
                self.keys = fetch_keys(self.url)
        except FETCH_ERRORS as error:
            structlog.get_logger().error("keys not fetched", url=self.url, error=str(error))
        finally:
            self.lock.release()


def fetch_keys(url: str) -> dict[str | None, Key]:
    """Return the keys of a JSON Web Key Set by their IDs."""
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - JWT_JWKS_URL
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        body = response.read(MAX_BYTES)
    key_set = KeySet.import_key_set(msgspec.json.decode(body))
    return {key.kid: key for key in key_set.keys}
