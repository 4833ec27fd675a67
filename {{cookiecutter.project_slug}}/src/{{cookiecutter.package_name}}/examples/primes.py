"""Number of primes: a slow computation whose response is cached."""

from typing import Annotated

from flask import Blueprint
from msgspec import Meta, Struct

from ..core.api import operation
# {% if cookiecutter.__cache %}
from ..core.cache import cache
# {% endif %}
from ..core.http_caching import public
from ..core.rate_limiting import rate_limit

blueprint = Blueprint("primes", __name__, url_prefix="/api/v1/primes")


class PrimesQuery(Struct, forbid_unknown_fields=True):
    """Query string: the upper bound, which is not included."""

    below: Annotated[int, Meta(ge=2, le=100_000)] = 1000


class PrimesCount(Struct):
    """Number of primes below a bound."""

    below: int
    primes: int


@blueprint.get("")
@rate_limit("60/minute")
# {% if cookiecutter.__cache %}
@cache.cached()
# {% endif %}
@public()
@operation("Primes", {200: PrimesCount})
def count_primes(query: PrimesQuery) -> PrimesCount:
    """Count the primes below a number with the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (query.below - 2)
    for number in range(2, int(query.below**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(
                len(range(number * number, query.below, number))
            )
    return PrimesCount(query.below, sum(is_prime))
