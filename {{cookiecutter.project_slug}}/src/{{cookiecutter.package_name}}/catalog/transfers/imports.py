"""The job that imports products from a file, and tells somebody how it went."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec import to_builtins
from sqlalchemy import select

from ...database import get_session
from ...mail import send_mail
from ...tasks import LOW, job, report
from ..bulk import BATCH, save_products
from ..models import Category
from ..schemas import ProductInput
from . import storage
from .rows import parse
from .schemas import ImportReport

Row = tuple[int, ProductInput | str]


@job(queue=LOW)
def import_products(file_id: str, size: int, notify: str | None = None) -> Any:
    """Import a file, whose `size` progress is told of; to do it again does no harm."""
    if known := storage.find_report(file_id):
        return known
    made = ImportReport()
    reader = storage.Reader(file_id)
    for batch in batches(parse(reader)):
        save(batch, made)
        report(reader.position, size)
    result = to_builtins(made)
    if storage.keep_report(file_id, result) and notify:
        send_mail.enqueue(notify, "Your import of products", describe(made))
    get_session().commit()
    return result


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows into lists that are saved at once."""
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch


def save(batch: list[Row], made: ImportReport) -> None:
    """Save the products of a batch that can be saved, and commit."""
    session = get_session()
    wanted = {product.category_id for _, product in batch if isinstance(product, ProductInput)}
    known = {*session.scalars(select(Category.id).where(Category.id.in_(wanted)))}
    # SQLite lets no transaction write that has read before another one wrote.
    session.commit()
    products = []
    for line, product in batch:
        if isinstance(product, str):
            made.refuse(line, product)
        elif product.category_id not in known:
            made.refuse(line, "category_id: there is no such category")
        else:
            products.append(product)
    # In one order, whatever the file's: two imports at once would wait for each other's rows.
    made.products += save_products(sorted(products, key=lambda product: product.sku))
    session.commit()


def describe(made: ImportReport) -> str:
    """Tell a person what became of the file."""
    lines = [f"Imported products: {made.products}", f"Refused rows: {made.refused}", ""]
    lines += [f"line {row.line}: {row.problem}" for row in made.refused_rows]
    if made.refused > len(made.refused_rows):
        lines.append("and more")
    return "\n".join(lines)
