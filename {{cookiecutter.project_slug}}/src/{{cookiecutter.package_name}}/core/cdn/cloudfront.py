"""Amazon CloudFront."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from secrets import token_hex
from urllib.parse import urlsplit

from ...config import Settings
from .client import PurgeCall, PurgeError, batches

REQUIRED = ("CDN_ID",)
# The networks of the CDN in the published file, which has those of all AWS services.
SELECTOR = '"CLOUDFRONT_ORIGIN_FACING"'
# Paths and tags per call. More than a thousand a month cost money.
BATCH_SIZE = 1000


def headers(cache_control: str, browsers: str, tags: Sequence[str]) -> dict[str, str]:
    """Return the headers for the TTLs in browsers and in the CDN, and for the tags."""
    shared = cache_control.replace("public, max-age", "s-maxage")
    own = browsers.partition(", stale")[0]
    return {"Cache-Control": f"{own}, {shared}", "Cache-Tag": ",".join(tags)}


def purge_calls(
    settings: Settings,
    urls: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[PurgeCall]:
    """Return the API calls of a purge, with the credentials that boto3 finds."""
    paths = [url.partition(urlsplit(url).netloc)[2] or "/" for url in urls]
    items = [*(["/*"] if everything else []), *paths, *(f"#{tag}" for tag in tags)]
    for batch in batches(items, BATCH_SIZE):
        yield PurgeCall(f"invalidation {' '.join(batch)}", partial(invalidate, settings, batch))


def invalidate(settings: Settings, items: Sequence[str]) -> None:
    """Create an invalidation; boto3 retries throttled calls."""
    # The import takes 0.3 s and 30 MB, which no server process should pay.
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
    )

    # It would log where it found the credentials.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    boto_errors = (BotoCoreError, ClientError)
    retries = {"mode": "standard", "total_max_attempts": 4}
    try:
        client = boto3.client(
            "cloudfront",
            region_name="us-east-1",
            endpoint_url=settings.CDN_API_URL or None,
            config=Config(retries=retries, connect_timeout=5, read_timeout=10),
        )
        client.create_invalidation(
            DistributionId=settings.CDN_ID,
            InvalidationBatch={
                "CallerReference": token_hex(16),
                "Paths": {"Quantity": len(items), "Items": list(items)},
            },
        )
    except boto_errors as error:
        raise PurgeError(" ".join(str(error).split())) from error
