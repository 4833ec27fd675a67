from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.limits import clients


@pytest.mark.parametrize(
    ("method", "setting"), [("GET", "RATE_LIMIT"), ("PUT", "RATE_LIMIT_WRITES")]
)
def test_a_client_is_limited(make_app: Callable[..., Flask], method: str, setting: str) -> None:
    client = make_app(**{setting: "2/hour"}).test_client()
    answers = [client.open("/nowhere", method=method) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 3600
    other = {"REMOTE_ADDR": "192.0.2.1"}
    assert client.open("/nowhere", method=method, environ_base=other).status_code == 404


def test_reading_does_not_use_up_writing(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT="2/hour", RATE_LIMIT_WRITES="2/hour").test_client()
    methods = ["GET", "HEAD", "PUT", "DELETE"]
    assert [client.open("/nowhere", method=method).status_code for method in methods] == [404] * 4


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:50000", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::6]:50000", "2001:db8:1:2::/64"),
        ("no:address:at all", "no:address:at all"),
    ],
)
def test_a_client_is_known_by_its_address(address: str, client: str) -> None:
    assert clients.name(address) == client


def test_probes_are_not_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT="1/hour").test_client()
    assert {client.get("/health/live").status_code for _ in range(3)} == {200}
