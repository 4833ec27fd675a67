"""Queue names, job status and errors, shared by the application and its workers."""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from werkzeug.exceptions import ServiceUnavailable

HIGH, DEFAULT, LOW = "high", "default", "low"
# In the order in which workers serve them.
QUEUES = (HIGH, DEFAULT, LOW)
# Name of the dead-letter queue in the output of `flask jobs queues`.
FAILED = "failed"

# The scheme of BROKER_URL with which a job runs in the process that sends it.
EAGER_SCHEME = "inline"

# Only such IDs are sent to a broker.
JOB_ID = re.compile("[A-Za-z0-9_-]{1,200}")

# Seconds between two checks of the clock by a scheduler: the clock may be set while it sleeps.
SCHEDULER_INTERVAL = 5

Errors = tuple[type[Exception], ...]

# The reason is in every log line of the job. It must not contain line breaks.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*(?![\s\S])"
Reason = Annotated[str, Meta(max_length=200, pattern=PRINTABLE)]


class JobError(Exception):
    """Expected failure of a job; the client may read the message.

    It is logged as a warning and not as an error, so it triggers no alert.
    """


class BrokerUnavailable(ServiceUnavailable):
    """503: the broker or the result backend does not respond."""

    def __init__(self) -> None:
        super().__init__("Background jobs are unavailable at the moment.", retry_after=5)


class JobStatus(Struct, kw_only=True):
    """State, progress and result of a job; `attempts` is the number of started attempts."""

    id: str
    name: str
    state: Literal["queued", "running", "retrying", "succeeded", "failed"] = "queued"
    attempts: int = 0
    done: int = 0
    total: int | None = None
    result: Any = None
    error: str | None = None
