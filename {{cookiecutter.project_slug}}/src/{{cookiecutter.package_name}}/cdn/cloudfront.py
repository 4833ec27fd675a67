"""Amazon CloudFront."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from .calls import Call, PurgeError, batches

NEEDED = ("CDN_ID",)
# In the file of addresses, what is ours.
SELECTOR = '"CLOUDFRONT_ORIGIN_FACING"'
# So many paths and tags go into one call; each is paid for, above a thousand a month.
BATCH = 1000


def describe(lifetime: str, control: str, tags: Sequence[str]) -> dict[str, str]:
    """Say how long an answer may be kept, beside what browsers are told, and under which tags."""
    shared = lifetime.replace("public, max-age", "s-maxage")
    own = control.partition(", stale")[0]
    return {"Cache-Control": f"{own}, {shared}", "Cache-Tag": ",".join(tags)}


def plan(
    config: Mapping[str, Any],
    addresses: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[Call]:
    """Plan the calls that make it forget, with the credentials that boto3 finds."""
    paths = [cut(address) for address in addresses]
    items = [*(["/*"] if everything else []), *paths, *(f"#{tag}" for tag in tags)]
    for batch in batches(items, BATCH):
        yield Call(f"invalidation {' '.join(batch)}", partial(invalidate, config, batch))


def cut(address: str) -> str:
    """Leave an address its path and query."""
    return address.partition(urlsplit(address).netloc)[2] or "/"


def invalidate(config: Mapping[str, Any], items: Sequence[str]) -> None:
    """Make an invalidation; boto3 repeats it while it is refused for the number of calls."""
    # It takes 0.3 s and 30 MB to import: no process that serves needs it.
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
    from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
        BotoCoreError,
        ClientError,
    )

    # It would tell where it has found the credentials.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    refused = (BotoCoreError, ClientError)
    retries = {"mode": "standard", "total_max_attempts": 4}
    try:
        client = boto3.client(
            "cloudfront",
            region_name="us-east-1",
            endpoint_url=config["CDN_API_URL"] or None,
            config=Config(retries=retries, connect_timeout=5, read_timeout=10),
        )
        client.create_invalidation(
            DistributionId=config["CDN_ID"],
            InvalidationBatch={
                "CallerReference": token_hex(16),
                "Paths": {"Quantity": len(items), "Items": list(items)},
            },
        )
    except refused as error:
        raise PurgeError(" ".join(str(error).split())) from error
