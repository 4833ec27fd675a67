"""The catalog in MongoDB: a product contains its category, so a page is one operation."""

from collections.abc import Iterable, Iterator
# {% if cookiecutter.__catalog_jobs %}
from datetime import UTC, datetime, timedelta
# {% else %}
from datetime import UTC, datetime
# {% endif %}
from itertools import islice
from typing import Any

# {% if cookiecutter.__auth %}
from flask import g, has_request_context
# {% endif %}
from msgspec.structs import asdict
from pymongo import InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

# {% if cookiecutter.__auth %}
from ..core.auth.identity import get_actor, get_identity
# {% endif %}
from ..core.mongodb import get_database, in_transaction, reserve_ids
from .entities import (
    Category,
    CategoryStatistics,
    DuplicateError,
    Product,
    StaleError,
    # {% if cookiecutter.__catalog_jobs %}
    Upload,
    # {% endif %}
)
from .schemas import Cursor, ProductIn, ProductQuery

Document = dict[str, Any]
Writes = list[InsertOne[Document] | UpdateOne]

BATCH_SIZE = 500
MAX_ATTEMPTS = 3
DUPLICATE_KEY = 11000
# Groups products by category, which a pipeline after `$match` counts.
COUNTS: Document = {
    "_id": "$category.id",
    "products": {"$sum": 1},
    "sold_out": {"$sum": {"$cond": [{"$eq": ["$stock", 0]}, 1, 0]}},
    "lowest": {"$min": "$price_cents"},
    "highest": {"$max": "$price_cents"},
}


def utcnow() -> datetime:
    """Return the current time in UTC with a resolution of one second, as in HTTP headers."""
    return datetime.now(UTC).replace(microsecond=0)


def visible() -> Document:
    """Return the filter of the products that the user of the request may see."""
    # {% if cookiecutter.__auth %}
    # Commands and workers see all of them.
    if not (has_request_context() or (g and "identity" in g)):
        return {}
    identity = get_identity()
    if identity is None or "catalog:write" not in identity.permissions:
        return {"draft": False}
    # {% endif %}
    return {}


def load_categories() -> list[Category]:
    """Load the categories by name, each with the number of its products."""
    counts = {found["_id"]: found["products"] for found in count_products()}
    return [
        Category(found["id"], found["name"], counts.get(found["id"], 0))
        for found in get_database()["category"].find().sort("name")
    ]


def count_products() -> list[Document]:
    """Count the products of each category that has some."""
    pipeline = [{"$match": visible()}, {"$group": COUNTS}]
    return [*get_database()["product"].aggregate(pipeline)]


def load_statistics() -> list[CategoryStatistics]:
    """Load the numbers of all categories by name."""
    groups = {found["_id"]: found for found in count_products()}
    return [
        CategoryStatistics(
            found["name"],
            group.get("products", 0),
            group.get("sold_out", 0),
            group.get("lowest"),
            group.get("highest"),
        )
        for found in get_database()["category"].find().sort("name")
        for group in [groups.get(found["id"], {})]
    ]


def find_category(category_id: int) -> Category | None:
    """Load a category."""
    found = get_database()["category"].find_one({"id": category_id})
    return Category(found["id"], found["name"]) if found else None


def insert_category(name: str) -> Category:
    """Create a category; raise `DuplicateError` if another one has the name."""
    categories = get_database()["category"]
    (category_id,) = reserve_ids(categories)
    try:
        categories.insert_one({"id": category_id, "name": name})
    except DuplicateKeyError:
        raise DuplicateError from None
    return Category(category_id, name)


def load_products(query: ProductQuery) -> tuple[list[Product], str | None]:
    """Load a page of products and the cursor of the next page, which is None on the last page."""
    rows = get_database()["product"].find(page_filter(query)).sort([("name", 1), ("id", 1)])
    found = [to_product(row) for row in rows.limit(query.limit + 1)]
    page = found[: query.limit]
    return page, Cursor(page[-1].name, page[-1].id).encode() if len(found) > len(page) else None


def page_filter(query: ProductQuery) -> Document:
    """Return the filter of a page. Keyset pagination: every page costs the same."""
    wanted = visible()
    if query.category_id is not None:
        wanted["category.id"] = query.category_id
    if query.sold_out:
        wanted["stock"] = 0
    if query.after:
        after = Cursor.decode(query.after)
        # Equivalent to (name, id) > (after.name, after.id); the first condition bounds the index.
        wanted["name"] = {"$gte": after.name}
        wanted["$or"] = [{"name": {"$gt": after.name}}, {"id": {"$gt": after.id}}]
    return wanted


def find_product(product_id: int) -> Product | None:
    """Load a product."""
    found = get_database()["product"].find_one({"id": product_id} | visible())
    return to_product(found) if found else None


def to_product(found: Document) -> Product:
    """Return the product of a document."""
    fields = {name: value for name, value in found.items() if name != "_id"}
    fields["category"] = Category(**found["category"])
    fields["updated_at"] = found["updated_at"].replace(microsecond=0)
    return Product(**fields)


def to_fields(given: ProductIn, category: Category) -> Document:
    """Return the fields of a document that a request sets."""
    fields = asdict(given) | {"category": {"id": category.id, "name": category.name}}
    del fields["category_id"]
    # {% if cookiecutter.__auth %}
    fields["updated_by"] = get_actor()
    # {% endif %}
    return fields


def insert_product(given: ProductIn, category: Category) -> Product:
    """Create a product; raise `DuplicateError` if another one has the SKU."""
    products = get_database()["product"]
    (product_id,) = reserve_ids(products)
    document = new_document(product_id, to_fields(given, category))
    try:
        products.insert_one(document)
    except DuplicateKeyError:
        raise DuplicateError from None
    return to_product(document)


def new_document(product_id: int, fields: Document) -> Document:
    """Return the document of a new product."""
    # {% if cookiecutter.__auth %}
    fields["created_by"] = fields["updated_by"]
    # {% endif %}
    return {"id": product_id, "version": 1, **fields, "updated_at": utcnow()}


def replace_product(product: Product, given: ProductIn, category: Category) -> Product:
    """Change a product; raise `StaleError` if its version is another one."""
    document = new_document(product.id, to_fields(given, category))
    document["version"] = product.version + 1
    # {% if cookiecutter.__auth %}
    document["created_by"] = product.created_by
    # {% endif %}
    current = {"id": product.id, "version": product.version}
    try:
        result = get_database()["product"].replace_one(current, document)
    except DuplicateKeyError:
        raise DuplicateError from None
    if not result.matched_count:
        raise StaleError
    return to_product(document)


def delete_product(product: Product) -> None:
    """Delete a product; raise `StaleError` if its version is another one."""
    current = {"id": product.id, "version": product.version}
    if not get_database()["product"].delete_one(current).deleted_count:
        raise StaleError


def save_products(products: Iterable[ProductIn]) -> int:
    """Insert products, or update those with the same SKU, and return their number.

    Products are sent in ordered batches, so memory use does not depend on their number. Each batch
    is a transaction where the server has transactions. Their categories must exist.
    """
    categories = {category.id: category for category in load_all_categories()}
    given = iter(products)
    saved = 0
    while batch := list(islice(given, BATCH_SIZE)):
        save_batch(
            [
                (product.sku, to_fields(product, categories[product.category_id]))
                for product in batch
            ]
        )
        saved += len(batch)
    return saved


def load_all_categories() -> Iterator[Category]:
    """Load the categories without the number of their products."""
    for found in get_database()["category"].find():
        yield Category(found["id"], found["name"])


def save_batch(rows: list[tuple[str, Document]]) -> None:
    """Insert or update the products of a batch, again if another request inserts one meanwhile."""
    for attempt in range(MAX_ATTEMPTS):
        writes = plan_writes(rows)

        def save(session: ClientSession | None, writes: Writes = writes) -> None:
            get_database()["product"].bulk_write(writes, session=session)

        try:
            in_transaction(get_database(), save)
        except BulkWriteError as error:
            codes = {found["code"] for found in error.details["writeErrors"]}
            if codes != {DUPLICATE_KEY} or attempt == MAX_ATTEMPTS - 1:
                raise
        else:
            return


def plan_writes(rows: list[tuple[str, Document]]) -> Writes:
    """Return the writes of a batch. IDs are reserved for new SKUs only."""
    products = get_database()["product"]
    skus = {sku for sku, _ in rows}
    new = skus - {found["sku"] for found in products.find({"sku": {"$in": [*skus]}}, {"sku": 1})}
    ids = iter(reserve_ids(products, len(new)) if new else ())
    writes: Writes = []
    for sku, fields in rows:
        if sku in new:
            new.remove(sku)
            writes.append(InsertOne(new_document(next(ids), {**fields})))
        else:
            new_fields = fields
            # {% if cookiecutter.__auth %}
            # A bulk upsert does not change whether a product is a draft.
            new_fields = {name: value for name, value in fields.items() if name != "draft"}
            # {% endif %}
            time = {"updated_at": True}
            change = {"$set": new_fields, "$inc": {"version": 1}, "$currentDate": time}
            writes.append(UpdateOne({"sku": sku}, change))
    return writes


# {% if cookiecutter.__catalog_jobs %}
def insert_upload(content: str, age: timedelta = timedelta()) -> int:
    """Store an uploaded file, and return its ID."""
    uploads = get_database()["upload"]
    (upload_id,) = reserve_ids(uploads)
    uploads.insert_one({"id": upload_id, "content": content, "created_at": utcnow() - age})
    return upload_id


def find_upload(upload_id: int) -> Upload | None:
    """Load an uploaded file and the report of its import."""
    found = get_database()["upload"].find_one({"id": upload_id})
    return Upload(found["id"], found["content"], found.get("report")) if found else None


def count_uploads() -> int:
    """Return the number of uploaded files."""
    return get_database()["upload"].count_documents({})


def find_newest_upload() -> int:
    """Return the ID of the newest uploaded file."""
    (newest,) = get_database()["upload"].find().sort("id", -1).limit(1)
    return int(newest["id"])


def save_report(upload_id: int, report: object) -> None:
    """Store the report of an import."""
    get_database()["upload"].update_one({"id": upload_id}, {"$set": {"report": report}})


def delete_upload(upload_id: int) -> None:
    """Delete an uploaded file."""
    get_database()["upload"].delete_one({"id": upload_id})


def delete_uploads(age: timedelta) -> None:
    """Delete uploaded files of this age and older ones."""
    get_database()["upload"].delete_many({"created_at": {"$lt": utcnow() - age}})


# {% endif %}
def is_empty() -> bool:
    """Return whether there is no category."""
    return get_database()["category"].find_one({}, {"id": 1}) is None
