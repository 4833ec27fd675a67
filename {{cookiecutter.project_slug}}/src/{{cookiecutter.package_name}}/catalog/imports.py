"""Import of products from a CSV file: endpoint, background job and report."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any

# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Blueprint
from msgspec import Struct, to_builtins
from sqlalchemy import JSON, LargeBinary, delete, func, select
# {% if cookiecutter.database == "mysql" %}
from sqlalchemy.dialects.mysql import LONGBLOB
# {% endif %}
from sqlalchemy.orm import Mapped, mapped_column
from structlog.contextvars import bound_contextvars

from ..config import get_settings
# {% if cookiecutter.__auth %}
from ..core.access import requires
# {% endif %}
from ..core.api import get_body, operation
from ..core.database import Base, get_session, utcnow
from ..core.errors import FieldError, Problem, UnprocessableContent
from ..core.mail import EmailAddress, send_mail
from ..core.rate_limiting import rate_limit
from ..core.security import host_matcher
from ..core.tasks import (
    # {% if cookiecutter.task_queue == "rq-redis" %}
    LOW,
    # {% endif %}
    JobError,
    JobStatus,
    Reason,
    accepted_response,
    # {% if cookiecutter.task_queue == "rq-redis" %}
    job,
    # {% endif %}
    report_progress,
)
from .bulk import BATCH_SIZE, save_products
from .csv_format import CSV, ImportReport, Row, count_rows, parse_csv
from .models import Category

blueprint = Blueprint("imports", __name__, url_prefix="/api/v1/products/imports")

RETENTION = timedelta(days=7)
PIECE_SIZE = 128 * 1024


class Upload(Base):
    """Uploaded file. It is stored in the database, as web servers and workers share no disk."""

    __tablename__ = "product_upload"

    id: Mapped[int] = mapped_column(primary_key=True)
    # `read_content` loads it in pieces.
    # {% if cookiecutter.database == "mysql" %}
    # MySQL's other binary types hold at most 64 KB or 16 MB.
    content: Mapped[bytes] = mapped_column(
        LargeBinary().with_variant(LONGBLOB, "mysql", "mariadb"), deferred=True
    )
    # {% else %}
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    # {% endif %}
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    report: Mapped[Any] = mapped_column(JSON, nullable=True)


class ImportQuery(Struct, forbid_unknown_fields=True):
    """Query string of an import."""

    reason: Reason = ""
    notify: EmailAddress | None = None


@blueprint.post("")
# {% if cookiecutter.__auth %}
@requires("catalog:import")
# {% endif %}
@rate_limit("RATE_LIMIT_IMPORTS")
@operation("Products", {202: JobStatus, 413: Problem, 415: Problem}, CSV)
def create_import(query: ImportQuery) -> tuple[JobStatus, int, dict[str, str]]:
    """Import products from a CSV file whose first line contains the names of the columns.

    The result of the job lists rejected rows. `notify` is an address in one of NOTIFY_DOMAINS.
    """
    domain = (query.notify or "").rpartition("@")[2]
    if domain and not host_matcher(get_settings().NOTIFY_DOMAINS)(domain):
        raise UnprocessableContent(FieldError("notify", "Its domain is not in NOTIFY_DOMAINS"))
    content = get_body().removeprefix(BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError:
        raise UnprocessableContent(FieldError("", "The file is not encoded in UTF-8")) from None
    session = get_session()
    upload = Upload(content=content)
    session.add(upload)
    session.flush()
    # The job is sent when the upload is committed.
    with bound_contextvars(reason=query.reason):
        sent = import_products.delay(upload.id, query.notify)
    session.commit()
    return accepted_response(sent.id)


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job(LOW)
# {% endif %}
def import_products(upload_id: int, notify: str | None = None) -> Any:
    """Import an uploaded file and return a report. A second run does not change the result."""
    session = get_session()
    upload = session.get(Upload, upload_id)
    # SQLite rejects a write in a transaction that has read before another one wrote.
    session.commit()
    if upload is None:
        raise JobError("The uploaded file has been deleted.")
    if upload.report is None:
        result = ImportReport()
        total = count_rows(read_content(upload_id))
        rows = parse_csv(read_content(upload_id))
        for done in range(0, total, BATCH_SIZE):
            batch = list(islice(rows, BATCH_SIZE))
            import_batch(batch, result)
            report_progress(done + len(batch), total)
        upload.report = to_builtins(result)
        if notify:
            send_mail.delay(notify, "Your import of products", str(result))
        session.commit()
    return upload.report


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job(LOW)
# {% endif %}
def delete_old_uploads() -> None:
    """Delete uploaded files after a week."""
    session = get_session()
    session.execute(delete(Upload).where(Upload.created_at < utcnow() - RETENTION))
    session.commit()


def read_content(upload_id: int) -> Iterator[bytes]:
    """Read an uploaded file in pieces, so memory use does not depend on its size."""
    session = get_session()
    for start in count(1, PIECE_SIZE):
        piece = func.substr(Upload.content, start, PIECE_SIZE)
        content = session.scalar(select(piece).where(Upload.id == upload_id))
        # No transaction is open while rows are saved: see `import_products`.
        session.commit()
        if not content:
            return
        yield content


def import_batch(rows: list[Row], result: ImportReport) -> None:
    """Save the valid rows of a batch in one transaction."""
    session = get_session()
    categories = set(session.scalars(select(Category.id)))
    session.commit()
    products = []
    for line, product in rows:
        if isinstance(product, str):
            result.reject(line, product)
        elif product.category_id not in categories:
            result.reject(line, "category_id: there is no such category")
        else:
            products.append(product)
    # Concurrent imports lock rows in the same order.
    result.products += save_products(sorted(products, key=lambda product: product.sku))
    session.commit()
