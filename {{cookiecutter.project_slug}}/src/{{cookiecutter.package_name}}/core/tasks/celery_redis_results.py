"""Celery: Redis result backend in which a late state does not replace a final one."""

from typing import Any

from celery.backends.redis import RedisBackend

from .celery_backends import is_late


class RedisResults(RedisBackend):  # type: ignore[misc]
    """Redis result backend that compares and writes in one transaction."""

    def set(
        self,
        key: bytes,
        value: str | bytes,
        expires: int | None = None,
        **retry_policy: Any,
    ) -> None:
        """Store a state unless it is late."""
        self.ensure(self.replace, (key, value, expires or self.expires), **retry_policy)

    def replace(self, key: bytes, value: str | bytes, expires: int | None) -> None:
        """Store a state unless the old one is final; start over after a concurrent write."""

        def write(pipe: Any) -> None:
            if is_late(self, key, pipe.get(key), value):
                return
            pipe.multi()
            pipe.set(key, value, ex=expires)
            pipe.publish(key, value)

        self.client.transaction(write, key)
