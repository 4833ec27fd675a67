import pytest
from flask.testing import FlaskClient

PRIMES = "/api/v1/primes"


@pytest.mark.parametrize(("below", "primes"), [(2, 0), (3, 1), (100, 25), (100_000, 9592)])
def test_primes_are_counted(client: FlaskClient, below: int, primes: int) -> None:
    response = client.get(PRIMES, query_string={"below": below})
    assert response.get_json() == {"below": below, "primes": primes}


def test_too_large_number_returns_422(client: FlaskClient) -> None:
    assert client.get(PRIMES, query_string={"below": 100_001}).status_code == 422


# {% if cookiecutter.__cache %}
def test_response_is_cached_by_query(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for below, primes in [(10, 4), (10, 4), (3, 1)]:
        response = client.get(PRIMES, query_string={"below": below})
        assert response.get_json()["primes"] == primes
    assert ["cache_hits" in line for line in capsys.readouterr().out.splitlines()] == [
        False,
        True,
        False,
    ]


# {% endif %}
def test_response_can_be_cached_by_proxies(client: FlaskClient) -> None:
    assert "public" in client.get(PRIMES).headers["Cache-Control"]
