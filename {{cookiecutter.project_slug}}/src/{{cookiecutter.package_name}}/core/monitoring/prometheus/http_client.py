"""Metrics of requests to other services."""

from ..conventions import BUCKETS, label_host
from .shared_files import Histogram

CALLS = Histogram(
    "http_client_request_duration_seconds",
    "Duration of requests to other services; without a response the status is empty.",
    ["server_address", "http_response_status_code"],
    buckets=BUCKETS,
)


def call_finished(host: str, status: int | None, seconds: float) -> None:
    """Observe a request; without a response `status` is None."""
    CALLS.labels(label_host(host), status or "").observe(seconds)
