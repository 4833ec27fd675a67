"""The networks of the CDN: forwarded headers are trusted from these only."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network

NETWORK = re.compile(r"[0-9A-Fa-f.:]+/\d{1,3}")
# No CDN has a larger network: a list with one would trust half of the internet.
MIN_PREFIX_LENGTH = {4: 8, 6: 19}


def parse_networks(text: str, selector: str = "") -> list[Network]:
    """Parse a list of networks as the CDN publishes it, or as `write_networks` wrote it.

    Of the objects in JSON only those that contain the selector count. Raise `ValueError` if there
    is no network, or one that is too large.
    """
    pieces = [piece for piece in text.split("}") if selector in piece]
    networks = {ip_network(name) for piece in pieces for name in NETWORK.findall(piece)}
    if not networks:
        raise ValueError("the list has no network")
    for network in networks:
        if network.prefixlen < MIN_PREFIX_LENGTH[network.version]:
            raise ValueError(f"{network} is too large for a CDN")
    return sorted(networks, key=lambda network: (network.version, network))


def write_networks(path: Path, line_format: str, networks: Iterable[Network]) -> None:
    """Write a list of networks below the comment at the beginning of the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines if line.startswith("#")]
    path.write_text(
        "\n".join([*comment, *(line_format.format(network) for network in networks), ""]),
        encoding="utf-8",
    )
