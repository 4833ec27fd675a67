"""Cloudflare."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .calls import Call, batches
from .http import send

API = "https://api.cloudflare.com/client/v4"
NEEDED = ("CDN_ID", "CDN_TOKEN")
# In the file of addresses, what is ours: all.
SELECTOR = ""
# So many addresses or tags go into one call; five calls a minute are allowed in the free plan.
BATCH = 100


def describe(lifetime: str, _: str, tags: Sequence[str]) -> dict[str, str]:
    """Say how long an answer may be kept (RFC 9213), and under which tags."""
    return {"CDN-Cache-Control": lifetime, "Cache-Tag": ",".join(tags)}


def plan(
    config: Mapping[str, Any],
    addresses: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[Call]:
    """Plan the calls that make it forget."""
    url = f"{config['CDN_API_URL'] or API}/zones/{config['CDN_ID']}/purge_cache"
    post = partial(send, "POST", url, {"Authorization": f"Bearer {config['CDN_TOKEN']}"})
    if everything:
        yield Call("everything", partial(post, {"purge_everything": True}))
    for kind, names in (("files", addresses), ("tags", tags)):
        for batch in batches(names, BATCH):
            yield Call(f"{kind} {' '.join(batch)}", partial(post, {kind: batch}))
