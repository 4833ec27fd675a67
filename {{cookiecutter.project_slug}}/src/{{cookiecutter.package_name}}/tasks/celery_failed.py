"""Celery: what failed for good is told to the log, and kept in a queue that no worker serves."""

from contextvars import copy_context
from typing import Any

import structlog
from celery.signals import task_failure
from structlog.contextvars import get_contextvars

from .jobs import Call
from .running import bind, explain

FAILED = "failed"


def read_call(request: Any, args: Any, kwargs: Any) -> Call:
    """Make what was sent of what Celery has received."""
    headers = request.headers or {}
    return Call(
        id=request.id,
        name=request.task,
        args=list(args),
        kwargs=kwargs,
        request_id=headers.get("request_id", ""),
        reason=headers.get("reason", ""),
    )


@task_failure.connect  # type: ignore[untyped-decorator]
def keep(sender: Any, exception: Exception, args: Any, kwargs: Any, **_: Any) -> None:
    """Keep a job that no further attempt is made of."""
    if sender.request.id is None:
        # Celery tells of a job that it had to kill twice, at first with the request.
        return
    call = read_call(sender.request, args, kwargs)
    attempts = get_contextvars().get("attempt", sender.request.retries + 1)
    copy_context().run(tell, call, attempts, exception)
    sender.app.broker.publish(call, FAILED, error=explain(exception), attempts=attempts)


def tell(call: Call, attempts: int, error: Exception) -> None:
    """Write the line that alerts."""
    bind(call, attempts)
    structlog.get_logger().error("job failed", exc_info=error)
