"""The nightly job that removes old files."""

from datetime import timedelta

from sqlalchemy import delete, select

from ...database import get_session
from ...database.types import now
from ...tasks import LOW, job, report
from .models import File

KEPT = timedelta(days=7)

# Each batch is a transaction, so that none takes long; what is left waits for the next night.
BATCH = 10
BATCHES = 1000


@job(queue=LOW, cron="17 3 * * *")
def remove_old_files() -> int:
    """Remove imported and exported files after a week; return how many."""
    session = get_session()
    old = select(File.id).where(File.created_at < now() - KEPT).order_by(File.created_at)
    removed = 0
    for _ in range(BATCHES):
        batch = session.scalars(old.limit(BATCH)).all()
        session.commit()
        if not batch:
            break
        session.execute(delete(File).where(File.id.in_(batch)))
        session.commit()
        removed += len(batch)
        report(removed)
    return removed
