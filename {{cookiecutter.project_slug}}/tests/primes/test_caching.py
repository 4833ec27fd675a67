from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

PRIMES = "/api/v1/primes"


def test_primes_are_counted_once(
    client: FlaskClient, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    made, kept = (client.get(PRIMES, query_string={"below": 100}) for _ in range(2))
    assert made.get_json() == kept.get_json() == {"below": 100, "primes": 25}
    miss, hit = logged()
    assert miss["cache_misses"] == hit["cache_hits"] == 1


def test_each_number_has_its_own_answer(client: FlaskClient) -> None:
    for below, primes in [(3, 1), (10, 4), (3, 1), (10, 4)]:
        answer = client.get(PRIMES, query_string={"below": below}).get_json()
        assert answer["primes"] == primes


def test_a_number_that_is_refused_is_refused_again(client: FlaskClient) -> None:
    for _ in range(2):
        assert client.get(PRIMES, query_string={"below": 1}).status_code == 422


def test_who_is_known_gets_no_kept_answer(
    client: FlaskClient, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    for _ in range(2):
        client.get(PRIMES, headers={"Authorization": "Bearer secret"})
    assert not any("cache_hits" in record or "cache_misses" in record for record in logged())
