"""Who a client is, as far as an address tells."""

from functools import lru_cache
from ipaddress import IPv6Network


@lru_cache(maxsize=4096)
def name(address: str) -> str:
    """Take an address for a client: without a port, and of IPv6 the /64, which one client owns."""
    if address.count(":") == 1 or address.startswith("["):
        address = address.rpartition(":")[0].strip("[]")
    if ":" not in address:
        return address
    try:
        return str(IPv6Network((address, 64), strict=False))
    except ValueError:
        return address
