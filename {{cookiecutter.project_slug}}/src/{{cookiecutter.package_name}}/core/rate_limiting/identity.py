"""The identity of a client."""

from functools import lru_cache
from ipaddress import IPv6Network


@lru_cache(maxsize=4096)
def client_key(address: str) -> str:
    """Return an IP address without its port; of IPv6 the /64, which belongs to one client."""
    if address.count(":") == 1 or address.startswith("["):
        address = address.rpartition(":")[0].strip("[]")
    if ":" not in address:
        return address
    try:
        return str(IPv6Network((address, 64), strict=False))
    except ValueError:
        return address
