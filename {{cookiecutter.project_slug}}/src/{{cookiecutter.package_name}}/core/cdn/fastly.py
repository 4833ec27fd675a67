"""Fastly."""

from collections.abc import Iterator, Sequence
from functools import partial

from ...config import Settings
from .client import PurgeCall, batches, send

API = "https://api.fastly.com"
REQUIRED = ("CDN_ID", "CDN_TOKEN")
# Every network in the published file is one of the CDN.
SELECTOR = ""
# Surrogate keys per call.
BATCH_SIZE = 256


def headers(cache_control: str, _browsers: str, tags: Sequence[str]) -> dict[str, str]:
    """Return the headers for the TTL in the CDN and for the tags; clients get neither."""
    return {"Surrogate-Control": cache_control, "Surrogate-Key": " ".join(tags)}


def purge_calls(
    settings: Settings,
    urls: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[PurgeCall]:
    """Return the API calls of a purge."""
    api = settings.CDN_API_URL or API
    service = f"{api}/service/{settings.CDN_ID}"
    credentials = {"Fastly-Key": settings.CDN_TOKEN, "Accept": "application/json"}
    if everything:
        yield PurgeCall("everything", partial(send, "POST", f"{service}/purge_all", credentials))
    for url in urls:
        target = f"{api}/purge/{url.partition('://')[2]}"
        yield PurgeCall(f"URL {url}", partial(send, "POST", target, credentials))
    for batch in batches(tags, BATCH_SIZE):
        body = {"surrogate_keys": batch}
        call = partial(send, "POST", f"{service}/purge", credentials, body)
        yield PurgeCall(f"keys {' '.join(batch)}", call)
