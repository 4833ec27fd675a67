"""Import of products from a CSV file: endpoint, background job and report."""

from datetime import timedelta
from itertools import islice
from typing import Any

# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Blueprint
from msgspec import Struct, to_builtins
from structlog.contextvars import bound_contextvars
from werkzeug.exceptions import HTTPException

from ..config import get_settings
# {% if cookiecutter.__auth %}
from ..core.access import requires
# {% endif %}
from ..core.api import get_body, operation
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
from .csv_format import CSV, ImportReport, Row, count_rows, parse_csv
from .storage import storage

blueprint = Blueprint("imports", __name__, url_prefix="/api/v1/products/imports")

RETENTION = timedelta(days=7)


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
    try:
        content = get_body().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnprocessableContent(FieldError("", "The file is not encoded in UTF-8")) from None
    upload_id = storage.insert_upload(content)
    try:
        with bound_contextvars(reason=query.reason):
            sent = import_products.delay(upload_id, query.notify)
    except HTTPException:
        # The broker is unreachable. What a killed process leaves, `delete_old_uploads` deletes.
        storage.delete_upload(upload_id)
        raise
    return accepted_response(sent.id)


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job(LOW)
# {% endif %}
def import_products(upload_id: int, notify: str | None = None) -> Any:
    """Import an uploaded file and return a report. A second run does not change the result."""
    upload = storage.find_upload(upload_id)
    if upload is None:
        raise JobError("The uploaded file has been deleted.")
    if upload.report is None:
        result = ImportReport()
        content = [upload.content.encode()]
        total = count_rows(content)
        rows = parse_csv(content)
        for done in range(0, total, storage.BATCH_SIZE):
            batch = list(islice(rows, storage.BATCH_SIZE))
            import_batch(batch, result)
            report_progress(done + len(batch), total)
        upload.report = to_builtins(result)
        storage.save_report(upload_id, upload.report)
        if notify:
            send_mail.delay(notify, "Your import of products", str(result))
    return upload.report


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job(LOW)
# {% endif %}
def delete_old_uploads() -> None:
    """Delete uploaded files after a week."""
    storage.delete_uploads(RETENTION)


def import_batch(rows: list[Row], result: ImportReport) -> None:
    """Save the valid rows of a batch."""
    categories = {category.id for category in storage.load_all_categories()}
    products = []
    for line, product in rows:
        if isinstance(product, str):
            result.reject(line, product)
        elif product.category_id not in categories:
            result.reject(line, "category_id: there is no such category")
        else:
            products.append(product)
    # Concurrent imports lock documents in the same order.
    result.products += storage.save_products(sorted(products, key=lambda product: product.sku))
