import re
import time
from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.http_caching import public
from {{ cookiecutter.package_name }}.core.rate_limiting import (
    identity,
    rate_limit,
)

ADDRESS = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that no window ends during a test."""
    monkeypatch.setattr(time, "time", lambda: 1_700_001_000.0)


def test_writes_are_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT_WRITES="2/hour").test_client()
    methods = ("PUT", "DELETE", "POST")
    responses = [client.open("/nowhere", method=method) for method in methods]
    assert [response.status_code for response in responses] == [404, 404, 429]
    assert responses[2].headers["Retry-After"] == "1800"
    assert client.put("/nowhere", environ_base=ADDRESS).status_code == 404
    assert {client.get("/nowhere").status_code for _ in range(3)} == {404}


def test_headers_report_the_remaining_requests(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT_WRITES="2/hour").test_client()
    for left in (1, 0, 0):
        response = client.put("/nowhere")
        assert response.headers["RateLimit-Policy"] == '"writes";q=2;w=3600'
        assert response.headers["RateLimit"] == f'"writes";r={left};t=1800'
    assert "RateLimit" not in client.get("/nowhere").headers


def test_next_window_allows_requests_again(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(RATE_LIMIT_WRITES="1/hour").test_client()
    assert [client.put("/nowhere").status_code for _ in range(2)] == [404, 429]
    monkeypatch.setattr(time, "time", lambda: 1_700_002_800.0)
    assert client.put("/nowhere").headers["RateLimit"] == '"writes";r=0;t=3600'


@pytest.mark.parametrize("limit", ["1/minute", "RATE_LIMIT_WRITES"])
def test_view_has_a_limit_of_its_own(make_app: Callable[..., Flask], limit: str) -> None:
    app = make_app(RATE_LIMIT_WRITES="1/minute")
    for name in ("slow", "other"):
        app.add_url_rule(f"/{name}", name, rate_limit(limit)(lambda: "slow"))
    client = app.test_client()
    assert re.fullmatch(r'"slow";r=0;t=\d+', client.get("/slow").headers["RateLimit"])
    assert client.get("/slow").status_code == 429
    assert client.get("/other").status_code == 200


def test_shared_response_has_no_headers_of_a_client(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.add_url_rule("/shared", "shared", rate_limit("1/minute")(public()(lambda: "all")))
    assert "RateLimit" not in app.test_client().get("/shared").headers


def test_malformed_limit_is_an_error_at_import() -> None:
    with pytest.raises(ValueError, match="RATE_LIMIT_MISSPELLED"):
        rate_limit("RATE_LIMIT_MISSPELLED")


def test_headers_report_both_limits(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    view = rate_limit("60/minute")(lambda: "")
    app.add_url_rule("/change", "change", view, methods=["POST"])
    headers = app.test_client().post("/change").headers.getlist("RateLimit")
    assert [item.partition(";")[0] for item in headers] == ['"writes"', '"change"']


def test_forged_addresses_do_not_evade_the_limit(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each in an hour of its own: a real cache counts for both applications.
    for start, hops, real in ((0, "0", {}), (3600, "1", {"X-Forwarded-For": ", 198.51.100.7"})):
        monkeypatch.setattr(time, "time", lambda start=start: 1_700_001_000.0 + start)
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
def test_client_key(address: str, client: str) -> None:
    assert identity.client_key(address) == client
