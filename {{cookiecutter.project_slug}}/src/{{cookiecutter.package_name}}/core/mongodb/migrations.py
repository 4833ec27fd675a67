"""Migrations of data and indexes: modules of `migrations` with a function `upgrade(database)`.

Their names begin with a number, which is their order. The collection `migrations` has those that
were applied, and a lock.
"""

import pkgutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any
from uuid import uuid4

from pymongo import timeout
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ... import migrations
from ..migration_lock import TTL_SECONDS, hold_lock

Document = dict[str, Any]

LOCK = "lock"


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


def migration_lock(collection: Collection[Document]) -> AbstractContextManager[None]:
    """Allow one migration at a time; raise `TimeoutError` if another one runs for too long."""
    owner = uuid4().hex
    take = partial(try_lock, collection, owner)
    return hold_lock(take, take, lambda: collection.delete_one({"_id": LOCK, "owner": owner}))


def try_lock(collection: Collection[Document], owner: str) -> bool:
    """Take or renew the lock, unless another process has it."""
    expired = datetime.now(UTC) - timedelta(seconds=TTL_SECONDS)
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
