"""The lock of migrations, as a document or a row that expires unless it is renewed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic, sleep

# A process that is killed frees the lock after this time; a living one renews it.
TTL_SECONDS = 60
RENEWAL_SECONDS = 15
POLL_SECONDS = 0.2
MAX_WAIT_SECONDS = 60


@contextmanager
def hold_lock(
    acquire: Callable[[], bool], renew: Callable[[], object], release: Callable[[], object]
) -> Iterator[None]:
    """Allow one migration at a time; raise `TimeoutError` if another one runs for too long.

    `acquire` returns whether the lock was free. `renew` is called in a thread.
    """
    deadline = monotonic() + MAX_WAIT_SECONDS
    while not acquire():
        if monotonic() > deadline:
            raise TimeoutError(f"another migration has been running for {MAX_WAIT_SECONDS} seconds")
        sleep(POLL_SECONDS)
    ended = Event()

    def renew_regularly() -> None:
        while not ended.wait(RENEWAL_SECONDS):
            # The next one may succeed before the lock expires.
            with suppress(Exception):
                renew()

    thread = Thread(target=renew_regularly, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        release()
