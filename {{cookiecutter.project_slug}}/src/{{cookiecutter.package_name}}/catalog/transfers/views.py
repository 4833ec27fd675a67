"""The API of files: a job reads or writes each, and what it wrote can be fetched."""

from tempfile import SpooledTemporaryFile
from typing import IO
from uuid import UUID

from flask import Blueprint, Response, request, stream_with_context, url_for
from sqlalchemy import select
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from ...api import Text, operation
from ...database import get_session
from ...errors import Problem
from ...tasks import JobStatus, accept
from . import storage
from .exports import export_products
from .imports import import_products
from .models import File
from .schemas import ExportQuery, ImportQuery

blueprint = Blueprint("transfers", __name__, url_prefix="/api/v1/products")

# The largest file, and how much of one is in memory.
LIMIT = 50 * 1024 * 1024
PART = 1024 * 1024

CSV = Text("text/csv", "sku,name,price_cents,category_id,stock\nKITE-1,Red kite,1250,1,7\n")

Accepted = tuple[JobStatus, int, dict[str, str]]


@blueprint.post("/imports")
@operation("Products", {202: JobStatus, 413: Problem, 415: Problem}, CSV)
def create_import(query: ImportQuery) -> Accepted:
    """Import products from a CSV file, whose first line names the columns.

    The job's result tells which rows were refused.
    """
    # Kept aside until it is whole: a transaction does not wait for a slow client.
    with SpooledTemporaryFile(PART) as upload:
        receive(upload)
        upload.seek(0)
        file = storage.create("import")
        writer = storage.Writer(file.id)
        while part := upload.read(PART):
            writer.write(part)
        size = writer.close()
    job_id = import_products.enqueue(file.id, size, query.notify, reason=query.reason)
    get_session().commit()
    return accept(job_id)


@blueprint.post("/exports")
@operation("Products", {202: JobStatus})
def create_export(query: ExportQuery) -> Accepted:
    """Export all products to a CSV file; the job's result has its `address`."""
    file = storage.create("export")
    address = url_for(".read_export", file_id=UUID(file.id))
    job_id = export_products.enqueue(file.id, address, reason=query.reason)
    get_session().commit()
    return accept(job_id)


@blueprint.get("/exports/<uuid:file_id>")
def read_export(file_id: UUID) -> Response:
    """Send a file that is whole, a chunk at a time."""
    wanted = (File.id == str(file_id), File.kind == "export")
    size = get_session().scalar(select(File.size).where(*wanted))
    if size is None:
        raise NotFound("There is no such file, or not yet, or no longer.")
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="products.csv"',
        "Content-Length": str(size),
    }
    body = stream_with_context(storage.read(str(file_id)))
    return Response(body, headers=headers, content_type="text/csv; charset=utf-8")


def receive(upload: IO[bytes]) -> None:
    """Take a body of any length up to the limit, whether it told its length or not."""
    request.max_content_length = LIMIT + 1
    while part := request.stream.read(PART):
        upload.write(part)
        if upload.tell() > LIMIT:
            raise RequestEntityTooLarge
