"""The job that exports all products to a file."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from ...database import get_session
from ...tasks import LOW, job, report
from ..models import Product
from ..queries import page_of_products
from ..schemas import Position
from . import storage
from .rows import write_header, write_products

PAGE = 1000


@job(queue=LOW)
def export_products(file_id: str, address: str) -> Any:
    """Write products as they are meanwhile; `address` is where the file will be."""
    if known := storage.find_report(file_id):
        return known
    session = get_session()
    total = session.scalar(select(func.count()).select_from(Product))
    session.commit()
    writer = storage.Writer(file_id)
    writer.write(write_header())
    done = 0
    for page in pages():
        writer.write(write_products(page))
        session.commit()
        done += len(page)
        report(done, total)
    writer.close()
    result = {"products": done, "address": address}
    storage.keep_report(file_id, result)
    session.commit()
    return result


def pages() -> Iterator[Sequence[Product]]:
    """Load all products by name, never more than a page of them."""
    session = get_session()
    after = None
    while page := session.scalars(page_of_products(PAGE, after)).all():
        after = Position(page[-1].name, page[-1].id)
        session.commit()
        yield page
