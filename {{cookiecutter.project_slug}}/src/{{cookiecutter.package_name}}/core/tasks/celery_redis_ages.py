"""Age of the messages in Celery's queues on Redis."""

import json
from time import time
from typing import Any

# The header with the time at which a message was sent, in seconds since 1970.
SENT_AT = "sent_at"


def message_age(name: str, channel: Any) -> float:
    """Return the age of the oldest message of a queue in seconds; 0 if the queue is empty."""
    message = channel.client.lindex(name, -1)
    now = time()
    # Not negative after the clock was set back.
    return max(0.0, now - json.loads(message)["headers"].get(SENT_AT, now)) if message else 0.0
