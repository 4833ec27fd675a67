"""A CDN that takes PURGE requests, such as Varnish with deploy/cdn/varnish.vcl."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from .calls import Call, batches
from .http import send

NEEDED = ("CDN_API_URL",)
# In the file of addresses, what is ours: all.
SELECTOR = ""
BATCH = 50


def describe(lifetime: str, _: str, tags: Sequence[str]) -> dict[str, str]:
    """Say how long an answer may be kept (RFC 9213), and under which keys."""
    return {"CDN-Cache-Control": lifetime, "Surrogate-Key": " ".join(tags)}


def plan(
    config: Mapping[str, Any],
    addresses: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[Call]:
    """Plan the requests that make it forget."""
    api = config["CDN_API_URL"]
    token = config["CDN_TOKEN"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if everything:
        keys = {**headers, "Surrogate-Key": "*"}
        yield Call("everything", partial(send, "PURGE", f"{api}/", keys))
    for address in addresses:
        parts = urlsplit(address)
        url = f"{api}{address.partition(parts.netloc)[2] or '/'}"
        host = {**headers, "Host": parts.netloc}
        yield Call(f"address {address}", partial(send, "PURGE", url, host))
    for batch in batches(tags, BATCH):
        keys = {**headers, "Surrogate-Key": " ".join(batch)}
        yield Call(f"keys {' '.join(batch)}", partial(send, "PURGE", f"{api}/", keys))
