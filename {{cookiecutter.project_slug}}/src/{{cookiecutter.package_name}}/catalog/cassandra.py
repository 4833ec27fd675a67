"""The catalog in Cassandra: a table for each query, so a page is one statement.

A change writes several tables, in an order that a crash cannot confuse: a product first, then its
SKU, then its places in lists. The conditions of lightweight transactions decide between concurrent
writers, and `version` is a time, so that late writes of lists do not undo newer ones.
"""

# {% if cookiecutter.__catalog_jobs %}
import json
# {% endif %}
from collections.abc import Iterable, Iterator
from datetime import (
    UTC,
    datetime,
    # {% if cookiecutter.__catalog_jobs %}
    timedelta,
    # {% endif %}
)
from itertools import islice
from secrets import randbelow
from time import time
from typing import Any, NamedTuple
from zlib import crc32

# {% if cookiecutter.__auth %}
from flask import g, has_request_context

from ..core.auth.identity import get_actor, get_identity
# {% endif %}
from ..core.cassandra import Client, Statement, batch, get_client, is_applied
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

BATCH_SIZE = 500
MAX_ATTEMPTS = 5
MAX_ID = 2**31 - 1
# Partitions of a list. A page reads all of them; let each grow to 100 MB before you add some.
BUCKETS = 16

# The partition of all categories, and that of all uploads.
ALL = "all"

CATEGORY_COLUMNS = "name, id, products, sold_out, lowest_price_cents, highest_price_cents"
SELECT_CATEGORIES = f"SELECT {CATEGORY_COLUMNS} FROM category WHERE catalog = ?"  # noqa: S608
INSERT_CATEGORY = "INSERT INTO category (catalog, name, id) VALUES (?, ?, ?)"
UPDATE_COUNTS = (
    "UPDATE category SET products = ?, sold_out = ?, lowest_price_cents = ?, "
    "highest_price_cents = ? WHERE catalog = ? AND name = ?"
)

COLUMNS = [
    "id",
    "sku",
    "name",
    "price_cents",
    "stock",
    "category_id",
    "category_name",
    "version",
    # {% if cookiecutter.__auth %}
    "draft",
    "created_by",
    "updated_by",
    # {% endif %}
]
NAMES, MARKS = ", ".join(COLUMNS), ", ".join("?" for _ in COLUMNS)
SELECT_PRODUCT = f"SELECT {NAMES} FROM product WHERE id = ?"  # noqa: S608
INSERT_PRODUCT = f"INSERT INTO product ({NAMES}) VALUES ({MARKS})"  # noqa: S608
UPDATE_PRODUCT = f"UPDATE product SET {' = ?, '.join(COLUMNS[1:])} = ? WHERE id = ?"  # noqa: S608
DELETE_PRODUCT = "DELETE FROM product WHERE id = ?"

SELECT_SKU = "SELECT id FROM product_sku WHERE sku = ?"
INSERT_SKU = "INSERT INTO product_sku (sku, id) VALUES (?, ?)"
UPDATE_SKU = "UPDATE product_sku SET id = ? WHERE sku = ?"
DELETE_SKU = "DELETE FROM product_sku WHERE sku = ?"

SELECT_PAGE = (
    f"SELECT position, {NAMES} FROM product_list WHERE list = ? "  # noqa: S608
    f"AND bucket IN ({', '.join(map(str, range(BUCKETS)))})"
)
SELECT_BUCKET = "SELECT price_cents, stock FROM product_list WHERE list = ? AND bucket = ?"
INSERT_PLACE = (
    f"INSERT INTO product_list (list, bucket, position, {NAMES}) "  # noqa: S608
    f"VALUES (?, ?, ?, {MARKS})"
)
DELETE_PLACE = "DELETE FROM product_list WHERE list = ? AND bucket = ? AND position = ?"

Place = tuple[str, int, str]
# A former and a new version of a product: None before it exists, and after it is deleted.
Change = tuple[Product | None, Product | None]


class Claim(NamedTuple):
    """The ID of a SKU that is in use, and its product. A deleted product may leave its SKU."""

    product_id: int
    product: Product | None


def new_id() -> int:
    """Return a random ID: a counter would be a bottleneck. Inserts have the condition for it."""
    return randbelow(MAX_ID) + 1


def sees_drafts() -> bool:
    """Return whether the user of the request may see drafts."""
    # {% if cookiecutter.__auth %}
    # Commands and workers see all products.
    if has_request_context() or (g and "identity" in g):
        identity = get_identity()
        return identity is not None and "catalog:write" in identity.permissions
    # {% endif %}
    return True


def load_categories() -> list[Category]:
    """Load the categories by name, each with the number of its products."""
    return [Category(row.id, row.name, row.products or 0) for row in load_category_rows()]


def load_all_categories() -> Iterator[Category]:
    """Load the categories without the number of their products."""
    return (Category(row.id, row.name) for row in load_category_rows())


def load_statistics() -> list[CategoryStatistics]:
    """Load the numbers and prices of all categories by name."""
    return [
        CategoryStatistics(
            row.name,
            row.products or 0,
            row.sold_out or 0,
            row.lowest_price_cents,
            row.highest_price_cents,
        )
        for row in load_category_rows()
    ]


def load_category_rows() -> list[Any]:
    """Load the partition of the categories, which is small. It is in the order of names."""
    return get_client().execute(SELECT_CATEGORIES, ALL)


def find_category(category_id: int) -> Category | None:
    """Load a category."""
    return next((found for found in load_all_categories() if found.id == category_id), None)


def insert_category(name: str) -> Category:
    """Create a category; raise `DuplicateError` if another one has the name."""
    client = get_client()
    categories = list(load_all_categories())
    category = Category(new_id(), name)
    insert = client.when("IF NOT EXISTS", (), (INSERT_CATEGORY, (ALL, name, category.id)))
    is_used = any(name == found.name or category.id == found.id for found in categories)
    if is_used or not client.execute_if(insert):
        raise DuplicateError
    client.operations.on_change("category")
    return category


def load_products(query: ProductQuery) -> tuple[list[Product], str | None]:
    """Load a page of products and the cursor of the next page, which is None on the last page.

    Keyset pagination: every page costs the same. The server merges the partitions of the list.
    """
    name = list_name(query.category_id, sold_out=query.sold_out, drafts=sees_drafts())
    statement, parameters = SELECT_PAGE, [name]
    if query.after:
        after = Cursor.decode(query.after)
        statement += " AND position > ?"
        parameters.append(position(after.name, after.id))
    rows = get_client().execute(
        f"{statement} ORDER BY position LIMIT {query.limit + 1}", *parameters
    )
    page = [to_product(row) for row in rows[: query.limit]]
    return page, Cursor(page[-1].name, page[-1].id).encode() if len(rows) > len(page) else None


def find_product(product_id: int) -> Product | None:
    """Load a product."""
    rows = get_client().execute(SELECT_PRODUCT, product_id)
    product = to_product(rows[0]) if rows else None
    # {% if cookiecutter.__auth %}
    if product and product.draft and not sees_drafts():
        return None
    # {% endif %}
    return product


def insert_product(given: ProductIn, category: Category) -> Product:
    """Create a product; raise `DuplicateError` if another one has the SKU."""
    claims = find_claims([given.sku])
    product = new_product(given, category)
    if any(claim.product for claim in claims.values()) or insert_products([product], claims):
        raise DuplicateError
    return product


def replace_product(product: Product, given: ProductIn, category: Category) -> Product:
    """Change a product; raise `StaleError` if its version is another one."""
    client = get_client()
    changed = new_product(given, category, product)
    is_renamed = changed.sku != product.sku
    if is_renamed:
        claims = find_claims([changed.sku])
        is_used = any(claim.product for claim in claims.values())
        if is_used or not client.execute_if(claim_sku(changed, claims)):
            raise DuplicateError
    if not client.execute_if(update(product, changed)):
        if is_renamed:
            client.execute_if(release_sku(changed))
        raise StaleError
    finish([(product, changed)])
    if is_renamed:
        client.execute_if(release_sku(product))
    return changed


def delete_product(product: Product) -> None:
    """Delete a product; raise `StaleError` if its version is another one."""
    client = get_client()
    delete = (DELETE_PRODUCT, (product.id,))
    if not client.execute_if(client.when("IF version = ?", [product.version], delete)):
        raise StaleError
    finish([(product, None)])
    client.execute_if(release_sku(product))


def save_products(products: Iterable[ProductIn]) -> int:
    """Insert products, or update those with the same SKU, and return their number.

    Memory use does not depend on their number: a batch is written, with DATABASE_CONCURRENCY
    statements at a time, before the next one is read. Their categories must exist.
    """
    categories = {category.id: category for category in load_all_categories()}
    rows = iter(products)
    saved = 0
    while given := list(islice(rows, BATCH_SIZE)):
        # Of several rows with a SKU, the last one counts.
        remaining = {row.sku: row for row in given}
        for _ in range(MAX_ATTEMPTS):
            remaining = save_batch(remaining, categories)
            if not remaining:
                break
        else:
            raise StaleError
        saved += len(given)
    return saved


def save_batch(
    given: dict[str, ProductIn], categories: dict[int, Category]
) -> dict[str, ProductIn]:
    """Save products; return those that another writer has changed in the meantime."""
    claims = find_claims([*given])
    inserts: list[Product] = []
    updates: list[tuple[Product, Product]] = []
    for sku, row in given.items():
        former = claims[sku].product if sku in claims else None
        product = new_product(row, categories[row.category_id], former)
        if former:
            # {% if cookiecutter.__auth %}
            # A bulk upsert does not change whether a product is a draft.
            product.draft = former.draft
            # {% endif %}
            updates.append((former, product))
        else:
            inserts.append(product)
    lost = insert_products(inserts, claims)
    applied = are_applied(update(*change) for change in updates)
    finish([change for change, is_new in zip(updates, applied, strict=True) if is_new])
    lost += [product for (_, product), is_new in zip(updates, applied, strict=True) if not is_new]
    return {product.sku: given[product.sku] for product in lost}


def insert_products(products: list[Product], claims: dict[str, Claim]) -> list[Product]:
    """Insert products; return those whose SKU, or ID, another writer has used first."""
    client = get_client()
    inserts = ((INSERT_PRODUCT, to_values(product)) for product in products)
    inserted = are_applied(client.when("IF NOT EXISTS", (), insert) for insert in inserts)
    entered = [product for product, is_new in zip(products, inserted, strict=True) if is_new]
    lost = [product for product, is_new in zip(products, inserted, strict=True) if not is_new]
    claimed = are_applied(claim_sku(product, claims) for product in entered)
    late = [product for product, is_new in zip(entered, claimed, strict=True) if not is_new]
    are_applied((DELETE_PRODUCT, (product.id,)) for product in late)
    finish([(None, product) for product, is_new in zip(entered, claimed, strict=True) if is_new])
    return lost + late


def find_claims(skus: list[str]) -> dict[str, Claim]:
    """Load the SKUs that are in use."""
    client = get_client()
    rows = client.execute_many((SELECT_SKU, [sku]) for sku in skus)
    used = {sku: found[0].id for sku, found in zip(skus, rows, strict=True) if found}
    products = client.execute_many((SELECT_PRODUCT, [product_id]) for product_id in used.values())
    return {
        sku: Claim(product_id, to_product(found[0]) if found else None)
        for (sku, product_id), found in zip(used.items(), products, strict=True)
    }


def claim_sku(product: Product, claims: dict[str, Claim]) -> Statement:
    """Return the statement that gives a SKU to a product, if the SKU is free or was left."""
    client = get_client()
    claim = claims.get(product.sku)
    if claim:
        expected = [claim.product_id]
        return client.when("IF id = ?", expected, (UPDATE_SKU, (product.id, product.sku)))
    return client.when("IF NOT EXISTS", (), (INSERT_SKU, (product.sku, product.id)))


def release_sku(product: Product) -> Statement:
    """Return the statement that frees a SKU, unless another product has it."""
    return get_client().when("IF id = ?", [product.id], (DELETE_SKU, (product.sku,)))


def update(former: Product, product: Product) -> Statement:
    """Return the statement that replaces a version of a product."""
    statement = (UPDATE_PRODUCT, (*to_values(product)[1:], product.id))
    return get_client().when("IF version = ?", [former.version], statement)


def are_applied(statements: Iterable[Statement]) -> list[bool]:
    """Execute statements concurrently and return whether their conditions were true."""
    return [is_applied(rows) for rows in get_client().execute_many(statements)]


def finish(changes: list[Change]) -> None:
    """Move products in the lists, count them, and invalidate cached values."""
    client = get_client()
    are_applied(batch(move(client, *change)) for change in changes)
    add_counts(changes)
    if changes:
        client.operations.on_change("category", "product")


def move(client: Client, former: Product | None, product: Product | None) -> list[Statement]:
    """Return the statements that move a product in the lists, with the time of its version."""
    old, new = places(former), places(product)
    written_at = product.version if product else former.version + 1 if former else 0
    deletes = [client.at(written_at - 1, (DELETE_PLACE, place)) for place in sorted(old - new)]
    inserts = [
        client.at(written_at, (INSERT_PLACE, (*place, *to_values(product))))
        for place in sorted(new)
        if product
    ]
    return deletes + inserts


def places(product: Product | None) -> set[Place]:
    """Return the list, bucket and position of each row of a product."""
    if product is None:
        return set()
    audiences = [True]
    # {% if cookiecutter.__auth %}
    if not product.draft:
        audiences.append(False)
    # {% endif %}
    bucket = crc32(str(product.id).encode()) % BUCKETS
    return {
        (list_name(category_id, sold_out=sold_out, drafts=drafts), bucket, place)
        for category_id in (None, product.category.id)
        for sold_out in {False, product.stock == 0}
        for drafts in audiences
        for place in [position(product.name, product.id)]
    }


def list_name(category_id: int | None, *, sold_out: bool = False, drafts: bool = True) -> str:
    """Return the name of a list: all products or those of a category, with or without drafts."""
    parts = [str(category_id or ALL), *["sold-out"] * sold_out, *["public"] * (not drafts)]
    return "/".join(parts)


def position(name: str, product_id: int) -> str:
    """Return a text that sorts by name and ID: names have no control characters."""
    return f"{name}\0{product_id:010}"


def add_counts(changes: list[Change]) -> None:
    """Add changes to the numbers of their categories.

    They may miss one of two concurrent changes, and prices of deleted products remain, until
    `recount`.
    """
    counts: dict[int, CategoryStatistics] = {}
    for former, product in changes:
        for version, sign in ((former, -1), (product, 1)):
            if version and is_counted(version):
                entry = counts.setdefault(version.category.id, empty_statistics())
                add(entry, version.price_cents, version.stock, sign)
    if not counts:
        return
    client = get_client()
    for row in load_category_rows():
        if change := counts.get(row.id):
            lowest = [row.lowest_price_cents, change.lowest_price_cents]
            highest = [row.highest_price_cents, change.highest_price_cents]
            values = (
                max(0, (row.products or 0) + change.products),
                max(0, (row.sold_out or 0) + change.sold_out),
                min((price for price in lowest if price is not None), default=None),
                max((price for price in highest if price is not None), default=None),
            )
            client.execute(UPDATE_COUNTS, *values, ALL, row.name)


def is_counted(product: Product) -> bool:
    """Return whether the numbers include a product: drafts are hidden."""
    return not getattr(product, "draft", False)


def empty_statistics() -> CategoryStatistics:
    """Return the numbers of no products."""
    return CategoryStatistics("", 0, 0, None, None)


def add(entry: CategoryStatistics, price: int, stock: int, sign: int = 1) -> None:
    """Add a product to numbers, or subtract it."""
    entry.products += sign
    entry.sold_out += sign * (stock == 0)
    if sign > 0:
        lowest, highest = entry.lowest_price_cents, entry.highest_price_cents
        entry.lowest_price_cents = price if lowest is None else min(price, lowest)
        entry.highest_price_cents = price if highest is None else max(price, highest)


def recount() -> None:
    """Compute the numbers again. It reads all products, a partition at a time."""
    client = get_client()
    drafts = not has_drafts()
    for row in load_category_rows():
        entry = empty_statistics()
        for bucket in range(BUCKETS):
            name = list_name(row.id, drafts=drafts)
            for found in client.stream(SELECT_BUCKET, name, bucket):
                add(entry, found.price_cents, found.stock)
        values = (entry.products, entry.sold_out, entry.lowest_price_cents)
        client.execute(UPDATE_COUNTS, *values, entry.highest_price_cents, ALL, row.name)
    client.operations.on_change("category", "product")


def has_drafts() -> bool:
    """Return whether there are lists without drafts."""
    return "draft" in COLUMNS


def new_product(given: ProductIn, category: Category, former: Product | None = None) -> Product:
    """Return a new product, or a new version of one. Versions are microseconds, and always grow."""
    version = max(int(time() * 1_000_000), former.version + 2 if former else 0)
    return Product(
        former.id if former else new_id(),
        given.sku,
        given.name,
        given.price_cents,
        given.stock,
        Category(category.id, category.name),
        version,
        to_datetime(version),
        # {% if cookiecutter.__auth %}
        given.draft,
        former.created_by if former else get_actor(),
        get_actor(),
        # {% endif %}
    )


def to_datetime(version: int) -> datetime:
    """Return the time of a version with a resolution of one second, as in HTTP headers."""
    return datetime.fromtimestamp(version // 1_000_000, UTC)


def to_product(row: Any) -> Product:
    """Return the product of a row."""
    return Product(
        row.id,
        row.sku,
        row.name,
        row.price_cents,
        row.stock,
        Category(row.category_id, row.category_name),
        row.version,
        to_datetime(row.version),
        # {% if cookiecutter.__auth %}
        row.draft,
        row.created_by,
        row.updated_by,
        # {% endif %}
    )


def to_values(product: Product) -> tuple[Any, ...]:
    """Return the values of COLUMNS."""
    category = {"category_id": product.category.id, "category_name": product.category.name}
    return tuple(category[name] if name in category else getattr(product, name) for name in COLUMNS)


# {% if cookiecutter.__catalog_jobs %}
SELECT_UPLOADS = "SELECT created_at, id FROM upload WHERE catalog = ?"
INSERT_UPLOAD = "INSERT INTO upload (catalog, created_at, id) VALUES (?, ?, ?)"
DELETE_UPLOAD = "DELETE FROM upload WHERE catalog = ? AND created_at = ? AND id = ?"
SELECT_CONTENT = "SELECT content, report FROM upload_content WHERE id = ?"
INSERT_CONTENT = "INSERT INTO upload_content (id, content) VALUES (?, ?)"
UPDATE_REPORT = "UPDATE upload_content SET report = ? WHERE id = ?"
DELETE_CONTENT = "DELETE FROM upload_content WHERE id = ?"


def insert_upload(content: str, age: timedelta = timedelta()) -> int:
    """Store an uploaded file, and return its ID."""
    client, upload_id = get_client(), new_id()
    created_at = (datetime.now(UTC) - age).replace(tzinfo=None, microsecond=0)
    insert = client.when("IF NOT EXISTS", (), (INSERT_CONTENT, (upload_id, content)))
    if not client.execute_if(insert):
        return insert_upload(content, age)
    client.execute(INSERT_UPLOAD, ALL, created_at, upload_id)
    return upload_id


def find_upload(upload_id: int) -> Upload | None:
    """Load an uploaded file and the report of its import."""
    rows = get_client().execute(SELECT_CONTENT, upload_id)
    if not rows or rows[0].content is None:
        return None
    report = rows[0].report
    return Upload(upload_id, rows[0].content, json.loads(report) if report else None)


def load_uploads() -> list[Any]:
    """Load the times and IDs of all uploaded files in the order of time."""
    return get_client().execute(SELECT_UPLOADS, ALL)


def count_uploads() -> int:
    """Return the number of uploaded files."""
    return len(load_uploads())


def find_newest_upload() -> int:
    """Return the ID of the newest uploaded file."""
    return int(load_uploads()[-1].id)


def save_report(upload_id: int, report: object) -> None:
    """Store the report of an import."""
    get_client().execute(UPDATE_REPORT, json.dumps(report), upload_id)


def delete_upload(upload_id: int) -> None:
    """Delete an uploaded file."""
    for row in load_uploads():
        if row.id == upload_id:
            get_client().execute(DELETE_CONTENT, row.id)
            get_client().execute(DELETE_UPLOAD, ALL, row.created_at, row.id)


def delete_uploads(age: timedelta) -> None:
    """Delete uploaded files of this age and older ones."""
    limit = (datetime.now(UTC) - age).replace(tzinfo=None)
    for row in load_uploads():
        if row.created_at <= limit:
            get_client().execute(DELETE_CONTENT, row.id)
            get_client().execute(DELETE_UPLOAD, ALL, row.created_at, row.id)


# {% endif %}
def is_empty() -> bool:
    """Return whether there is no category."""
    return not load_category_rows()
