"""Metrics of requests to other services."""

from collections.abc import Iterable

from ..conventions import BUCKETS
from .shared_files import Histogram

# Hosts that are labels. URLs from clients may have any host: these are `other`.
known_hosts: set[str] = set()

CALLS = Histogram(
    "http_client_request_duration_seconds",
    "Duration of requests to other services; without a response the status is empty.",
    ["server_address", "http_response_status_code"],
    buckets=BUCKETS,
)


def name_hosts(hosts: Iterable[str]) -> None:
    """Let these hosts have metrics of their own."""
    known_hosts.update(hosts)


def call_finished(host: str, status: int | None, seconds: float) -> None:
    """Observe a request; without a response `status` is None."""
    address = host if host in known_hosts else "other"
    CALLS.labels(address, status or "").observe(seconds)
