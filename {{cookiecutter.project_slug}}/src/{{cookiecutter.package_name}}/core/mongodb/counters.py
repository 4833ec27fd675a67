"""Numbers as IDs: short, in the order of creation, and never used again."""

from typing import Any

from pymongo import ReturnDocument
from pymongo.collection import Collection


def reserve_ids(collection: Collection[dict[str, Any]], count: int = 1) -> range:
    """Return new IDs for documents of a collection."""
    counters = collection.database["counters"]
    counter: Any = counters.find_one_and_update(
        {"_id": collection.name},
        {"$inc": {"value": count}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return range(counter["value"] - count + 1, counter["value"] + 1)
