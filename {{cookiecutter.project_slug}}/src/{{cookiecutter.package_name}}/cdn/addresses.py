"""The addresses from which the CDN asks: only what comes from there is believed."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network

NETWORK = re.compile(r"[0-9A-Fa-f.:]+/\d{1,3}")
# A list with a wider one is no list of a CDN: it would trust half of the world.
WIDEST = {4: 8, 6: 19}


def find(text: str, selector: str = "") -> list[Network]:
    """Find the networks in a list as the CDN publishes it, or as `write` made it.

    Of objects in JSON only those count that hold the selector.
    """
    pieces = [piece for piece in text.split("}") if selector in piece]
    found = {ip_network(name) for piece in pieces for name in NETWORK.findall(piece)}
    if not found:
        raise ValueError("no network is in this list")
    for network in found:
        if network.prefixlen < WIDEST[network.version]:
            raise ValueError(f"{network} is too wide to be a CDN's")
    return sorted(found, key=lambda network: (network.version, network))


def write(path: Path, form: str, networks: Iterable[Network]) -> None:
    """Write a list, below the comment that it begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines if line.startswith("#")]
    path.write_text(
        "\n".join([*comment, *(form.format(network) for network in networks), ""]),
        encoding="utf-8",
    )
