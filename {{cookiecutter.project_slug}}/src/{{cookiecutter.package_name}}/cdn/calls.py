"""Calls of a CDN's interface."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class PurgeError(Exception):
    """Says what the CDN answered."""


class Call(NamedTuple):
    """A call that is planned: in words, and ready to be made."""

    words: str
    make: Callable[[], object]


def batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a list into parts that one call takes."""
    for start in range(0, len(names), size):
        yield names[start : start + size]
