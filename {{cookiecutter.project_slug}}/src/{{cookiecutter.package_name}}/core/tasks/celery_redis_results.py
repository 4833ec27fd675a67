"""Celery: Redis result backend in which a late state does not replace a final one."""

from typing import Any

from celery.backends.redis import RedisBackend

# Store a state and notify clients that wait for it, unless it is late: Celery 5.7.0 retries a write
# until it succeeds, and meanwhile the next attempt of the job may have finished. A job that has
# failed may be sent again.
STORE = """
local old = redis.call('GET', KEYS[1])
if old then
    local final = {SUCCESS = true, FAILURE = true, REVOKED = true}
    local old_state, state = cjson.decode(old).status, cjson.decode(ARGV[1]).status
    if old_state == 'SUCCESS' or final[old_state] and not final[state] and state ~= 'SENT' then
        return
    end
end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class RedisResults(RedisBackend):  # type: ignore[misc]
    """Redis result backend that compares and writes by a script, in one round trip."""

    def on_task_call(self, *_: Any) -> None:
        """Subscribe to no result: `AsyncResult.get` does so when it waits for one."""

    # Private: Celery's own reads the old state before it calls `set`, which compares again.
    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_: Any,
    ) -> Any:
        """Store a state."""
        # Private: the fields that Celery's other backends store.
        meta = self._get_result_meta(result, state, traceback, request)
        self.set(self.get_key_for_task(task_id), self.encode(meta | {"task_id": task_id}))
        return result

    def set(
        self,
        key: bytes,
        value: str | bytes,
        expires: int | None = None,
        **retry_policy: Any,
    ) -> None:
        """Store a state unless it is late; other values, such as groups, replace the old one."""
        if key.startswith(self.task_keyprefix):
            # Without `ensure`: `store_result` tries again itself, and requests wait for that.
            self.client.eval(STORE, 1, key, value, expires or self.expires or 0)
        else:
            super().set(key, value, expires, **retry_policy)
