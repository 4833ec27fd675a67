"""Cloudflare."""

from collections.abc import Iterator, Sequence
from functools import partial

from ...config import Settings
from .client import PurgeCall, batches, send

API = "https://api.cloudflare.com/client/v4"
REQUIRED = ("CDN_ID", "CDN_TOKEN")
# Every network in the published file is one of the CDN.
SELECTOR = ""
# URLs or tags per call. The free plan allows five calls a minute.
BATCH_SIZE = 100


def headers(cache_control: str, _browsers: str, tags: Sequence[str]) -> dict[str, str]:
    """Return the headers for the TTL in the CDN (RFC 9213) and for the tags."""
    return {"CDN-Cache-Control": cache_control, "Cache-Tag": ",".join(tags)}


def purge_calls(
    settings: Settings,
    urls: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[PurgeCall]:
    """Return the API calls of a purge."""
    url = f"{settings.CDN_API_URL or API}/zones/{settings.CDN_ID}/purge_cache"
    post = partial(send, "POST", url, {"Authorization": f"Bearer {settings.CDN_TOKEN}"})
    if everything:
        yield PurgeCall("everything", partial(post, {"purge_everything": True}))
    for kind, names in (("files", urls), ("tags", tags)):
        for batch in batches(names, BATCH_SIZE):
            yield PurgeCall(f"{kind} {' '.join(batch)}", partial(post, {kind: batch}))
