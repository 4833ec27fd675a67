"""A CDN that accepts PURGE requests, such as Varnish with deploy/cdn/varnish.vcl."""

from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlsplit

from ...config import Settings
from .client import PurgeCall, batches, send

REQUIRED = ("CDN_API_URL",)
# Every network in the published file is one of the CDN.
SELECTOR = ""
# Surrogate keys per request.
BATCH_SIZE = 50


def headers(cache_control: str, _browsers: str, tags: Sequence[str]) -> dict[str, str]:
    """Return the headers for the TTL in the CDN (RFC 9213) and for the tags."""
    return {"CDN-Cache-Control": cache_control, "Surrogate-Key": " ".join(tags)}


def purge_calls(
    settings: Settings,
    urls: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[PurgeCall]:
    """Return the requests of a purge."""
    api, token = settings.CDN_API_URL, settings.CDN_TOKEN
    credentials = {"Authorization": f"Bearer {token}"} if token else {}
    if everything:
        keys = {**credentials, "Surrogate-Key": "*"}
        yield PurgeCall("everything", partial(send, "PURGE", f"{api}/", keys))
    for url in urls:
        host = urlsplit(url).netloc
        target = f"{api}{url.partition(host)[2] or '/'}"
        call = partial(send, "PURGE", target, {**credentials, "Host": host})
        yield PurgeCall(f"URL {url}", call)
    for batch in batches(tags, BATCH_SIZE):
        keys = {**credentials, "Surrogate-Key": " ".join(batch)}
        yield PurgeCall(f"keys {' '.join(batch)}", partial(send, "PURGE", f"{api}/", keys))
