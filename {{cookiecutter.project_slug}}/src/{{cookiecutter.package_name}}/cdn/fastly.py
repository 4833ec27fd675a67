"""Fastly."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .calls import Call, batches
from .http import send

API = "https://api.fastly.com"
NEEDED = ("CDN_ID", "CDN_TOKEN")
# In the file of addresses, what is ours: all.
SELECTOR = ""
# So many keys go into one call.
BATCH = 256


def describe(lifetime: str, _: str, tags: Sequence[str]) -> dict[str, str]:
    """Say how long an answer may be kept, and under which keys; clients do not see either."""
    return {"Surrogate-Control": lifetime, "Surrogate-Key": " ".join(tags)}


def plan(
    config: Mapping[str, Any],
    addresses: Sequence[str],
    tags: Sequence[str],
    *,
    everything: bool,
) -> Iterator[Call]:
    """Plan the calls that make it forget."""
    api = config["CDN_API_URL"] or API
    service = f"{api}/service/{config['CDN_ID']}"
    headers = {"Fastly-Key": config["CDN_TOKEN"], "Accept": "application/json"}
    if everything:
        yield Call("everything", partial(send, "POST", f"{service}/purge_all", headers))
    for address in addresses:
        url = f"{api}/purge/{address.partition('://')[2]}"
        yield Call(f"address {address}", partial(send, "POST", url, headers))
    for batch in batches(tags, BATCH):
        body = {"surrogate_keys": batch}
        call = partial(send, "POST", f"{service}/purge", headers, body)
        yield Call(f"keys {' '.join(batch)}", call)
