"""The example's API, below /api/v1."""

from typing import Annotated

from flask import Blueprint
from msgspec import Meta, Struct

from ..api import operation
from ..http_caching import public
from ..limits import limited

blueprint = Blueprint("primes", __name__, url_prefix="/api/v1")


class PrimesQuery(Struct, forbid_unknown_fields=True):
    """Up to where."""

    below: Annotated[int, Meta(ge=2, le=100_000)] = 1000


class PrimesCount(Struct):
    """How many there are."""

    below: int
    primes: int


@blueprint.get("/primes")
@limited("RATE_LIMIT_EXPENSIVE")
@public()
@operation("Primes", {200: PrimesCount})
def count_primes(query: PrimesQuery) -> PrimesCount:
    """Count the primes below a number, by the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (query.below - 2)
    for number in range(2, int(query.below**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(
                len(range(number * number, query.below, number))
            )
    return PrimesCount(query.below, sum(is_prime))
