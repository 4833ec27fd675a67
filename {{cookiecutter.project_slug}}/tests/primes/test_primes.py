import pytest
from flask.testing import FlaskClient

PRIMES = "/api/v1/primes"


@pytest.mark.parametrize(("below", "primes"), [(2, 0), (3, 1), (100, 25), (100_000, 9592)])
def test_primes_are_counted(client: FlaskClient, below: int, primes: int) -> None:
    answer = client.get(PRIMES, query_string={"below": below}).get_json()
    assert answer == {"below": below, "primes": primes}


def test_a_number_that_would_take_too_long_is_refused(client: FlaskClient) -> None:
    assert client.get(PRIMES, query_string={"below": 100_001}).status_code == 422


def test_everybody_may_keep_the_answer(client: FlaskClient) -> None:
    assert "public" in client.get(PRIMES).headers["Cache-Control"]
