import re
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient

VITALS: dict[str, Any] = {
    "route": "/",
    "ttfb": 90,
    "fcp": 400.5,
    "lcp": 1700,
    "inp": 48,
    "cls": 0.02,
}


def read(client: FlaskClient, metric: str) -> dict[str, float]:
    """Return the values of a metric by route."""
    pattern = "(?m)^" + metric + r'\{http_route="(.*?)"\} (\S+)$'
    found = re.findall(pattern, client.get("/metrics").text)
    return {route: float(value) for route, value in found}


def test_metrics_of_a_page_are_stored_in_seconds(client: FlaskClient) -> None:
    before = read(client, "web_vitals_lcp_seconds_sum").get("/", 0)
    response = client.post("/web-vitals", json=VITALS)
    assert (response.status_code, response.data) == (204, b"")
    assert read(client, "web_vitals_lcp_seconds_sum")["/"] - before == pytest.approx(1.7)
    for name in ("ttfb_seconds", "fcp_seconds", "inp_seconds", "cls"):
        assert read(client, f"web_vitals_{name}_count")["/"] > 0


def test_unknown_routes_share_one_label(client: FlaskClient) -> None:
    routes = read(client, "web_vitals_lcp_seconds_count").keys()
    for number in range(20):
        vitals = {**VITALS, "route": f"/unknown/{number}"}
        assert client.post("/web-vitals", json=vitals).status_code == 204
    assert read(client, "web_vitals_lcp_seconds_count").keys() - routes <= {""}


def test_routes_are_listed_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    iter_rules = Mock(side_effect=app.url_map.iter_rules)
    monkeypatch.setattr(app.url_map, "iter_rules", iter_rules)
    client = app.test_client()
    for _ in range(3):
        assert client.post("/web-vitals", json=VITALS).status_code == 204
    assert iter_rules.call_count <= 1


def test_missing_metrics_are_not_stored(client: FlaskClient) -> None:
    before = read(client, "web_vitals_inp_seconds_count")
    assert client.post("/web-vitals", json={"route": "/"}).status_code == 204
    assert read(client, "web_vitals_inp_seconds_count") == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"route": 1}',
        b'{"route": "/", "user": "Ada"}',
        b'{"route": "/", "lcp": -1}',
        b'{"route": "/", "lcp": "1"}',
        b'{"route": "/", "lcp": 1e9}',
        b'{"route": "/", "lcp": NaN}',
        b'{"route": "/", "cls": 1e300}',
        b'{"route": "' + b"x" * 300 + b'"}',
    ],
)
def test_invalid_reports_get_400(client: FlaskClient, body: bytes) -> None:
    before = read(client, "web_vitals_lcp_seconds_count")
    response = client.post("/web-vitals", data=body, content_type="application/json")
    assert response.status_code == 400
    assert read(client, "web_vitals_lcp_seconds_count") == before


def test_large_reports_get_413(client: FlaskClient) -> None:
    assert client.post("/web-vitals", data=b" " * 2000).status_code == 413


def test_reports_of_other_sites_get_403(client: FlaskClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/web-vitals", json=VITALS, headers=headers).status_code == 403


def test_reports_have_a_limit_of_their_own(make_app: Any) -> None:
    client = make_app(RATE_LIMIT_WEB_VITALS="3/hour", RATE_LIMIT_WRITES="1/hour").test_client()
    statuses = [client.post("/web-vitals", json=VITALS).status_code for _ in range(4)]
    assert statuses == [204, 204, 204, 429]
    # They did not count as writes.
    assert client.post("/unknown").status_code == 404
    assert client.post("/unknown").status_code == 429


def test_pages_have_the_script_and_their_route(client: FlaskClient) -> None:
    page = client.get("/").text
    (script,) = re.findall(r"<script .*?web-vitals.*?>", page)
    assert 'data-url="/web-vitals" data-route="/" data-rate="1.0" defer' in script
    # The route of a page that does not exist is not its path.
    page = client.get("/unknown", headers={"Accept": "text/html"}).text
    assert 'data-route=""' in page


def test_api_description_does_not_contain_reports(client: FlaskClient) -> None:
    assert "/web-vitals" not in client.get("/docs/openapi.json").text
