import re
import time
from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.http_caching import public
from {{ cookiecutter.package_name }}.limits import clients, limited

ADDRESS = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture(autouse=True)
def _still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no window end in the middle of a test: it is half past."""
    monkeypatch.setattr(time, "time", lambda: 1_700_001_000.0)


def test_writing_is_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT_WRITES="2/hour").test_client()
    methods = ("PUT", "DELETE", "POST")
    answers = [client.open("/nowhere", method=method) for method in methods]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[2].headers["Retry-After"] == "1800"
    assert client.put("/nowhere", environ_base=ADDRESS).status_code == 404
    assert {client.get("/nowhere").status_code for _ in range(3)} == {404}


def test_a_client_is_told_what_is_left(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT_WRITES="2/hour").test_client()
    for left in (1, 0, 0):
        answer = client.put("/nowhere")
        assert answer.headers["RateLimit-Policy"] == '"writes";q=2;w=3600'
        assert answer.headers["RateLimit"] == f'"writes";r={left};t=1800'
    assert "RateLimit" not in client.get("/nowhere").headers


def test_windows_end(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_app(RATE_LIMIT_WRITES="1/hour").test_client()
    assert [client.put("/nowhere").status_code for _ in range(2)] == [404, 429]
    monkeypatch.setattr(time, "time", lambda: 1_700_002_800.0)
    assert client.put("/nowhere").headers["RateLimit"] == '"writes";r=0;t=3600'


def test_a_view_can_have_a_limit(make_app: Callable[..., Flask]) -> None:
    app = make_app(RATE_LIMIT_EXPENSIVE="1/minute")
    app.add_url_rule("/slow", "slow", limited("RATE_LIMIT_EXPENSIVE")(lambda: "slow"))
    app.add_url_rule("/shared", "shared", limited("RATE_LIMIT_EXPENSIVE")(public()(lambda: "all")))
    client = app.test_client()
    assert re.fullmatch(r'"expensive";r=0;t=\d+', client.get("/slow").headers["RateLimit"])
    assert client.get("/slow").status_code == 429
    # What others may keep must not tell them of a client.
    assert "RateLimit" not in client.get("/shared", environ_base=ADDRESS).headers


def test_limits_of_writing_and_of_a_view_are_both_told(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    view = limited("RATE_LIMIT_EXPENSIVE")(lambda: "")
    app.add_url_rule("/change", "change", view, methods=["POST"])
    told = app.test_client().post("/change").headers.getlist("RateLimit")
    assert [item.partition(";")[0] for item in told] == ['"writes"', '"expensive"']


def test_a_forged_address_is_no_way_around(make_app: Callable[..., Flask]) -> None:
    for hops, real in (("0", {}), ("1", {"X-Forwarded-For": ", 198.51.100.7"})):
        client = make_app(RATE_LIMIT_WRITES="1/hour", TRUSTED_PROXY_HOPS=hops).test_client()
        statuses = []
        for number in range(3):
            forged = f"203.0.113.{number}{real.get('X-Forwarded-For', '')}"
            headers = {"X-Forwarded-For": forged, "Forwarded": f"for={forged}", "X-Real-IP": forged}
            statuses.append(client.put("/nowhere", headers=headers).status_code)
        assert statuses == [404, 429, 429]


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
