"""Migrations of data and indexes: modules of `migrations` with a function `upgrade(database)`.

Their names begin with a number, which is their order. The collection `migrations` has those that
were applied, and a lock.
"""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from pymongo import timeout
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from ... import migrations

Document = dict[str, Any]

LOCK = "lock"
# A process that is killed frees the lock after this time; a living one renews it.
LEASE = timedelta(seconds=60)
RENEWAL_SECONDS = 15
POLL_SECONDS = 0.2
MAX_WAIT_SECONDS = 60


def find_migrations() -> list[str]:
    """Return the names of all migrations in their order."""
    return sorted(module.name for module in pkgutil.iter_modules(migrations.__path__))


def find_pending(database: Database[Document]) -> list[str]:
    """Return the names of the migrations that have not been applied."""
    applied = {document["_id"] for document in database["migrations"].find({}, {"_id": 1})}
    return [name for name in find_migrations() if name not in applied]


def upgrade(database: Database[Document]) -> Iterator[str]:
    """Apply the missing migrations, one process at a time, and yield their names.

    A migration that fails is not recorded, and runs again the next time: it must be idempotent.
    """
    with migration_lock(database["migrations"]), timeout(None):
        for name in find_pending(database):
            import_module(f"{migrations.__name__}.{name}").upgrade(database)
            database["migrations"].insert_one({"_id": name, "applied_at": datetime.now(UTC)})
            yield name


@contextmanager
def migration_lock(collection: Collection[Document]) -> Iterator[None]:
    """Allow one migration at a time; raise `TimeoutError` if another one runs for too long."""
    owner = uuid4().hex
    deadline = monotonic() + MAX_WAIT_SECONDS
    while not try_lock(collection, owner):
        if monotonic() > deadline:
            raise TimeoutError(f"another migration has been running for {MAX_WAIT_SECONDS} seconds")
        sleep(POLL_SECONDS)
    ended = Event()

    def renew() -> None:
        while not ended.wait(RENEWAL_SECONDS):
            # The next one may succeed before the lock expires.
            with suppress(PyMongoError):
                try_lock(collection, owner)

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        collection.delete_one({"_id": LOCK, "owner": owner})


def try_lock(collection: Collection[Document], owner: str) -> bool:
    """Take or renew the lock, unless another process has it."""
    expired = datetime.now(UTC) - LEASE
    try:
        # If another process has it, the filter matches nothing, and the insert violates `_id`.
        collection.update_one(
            {"_id": LOCK, "$or": [{"owner": owner}, {"renewed_at": {"$lt": expired}}]},
            {"$set": {"owner": owner}, "$currentDate": {"renewed_at": True}},
            upsert=True,
        )
    except DuplicateKeyError:
        return False
    return True
