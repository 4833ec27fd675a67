from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.endpoint import (
    is_allowed,
    parse_networks,
)

NETWORKS = parse_networks(["127.0.0.0/8", "10.0.0.0/8", "::1/128"])


def test_endpoint_has_metrics_and_no_other_header(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/health/live")
    capsys.readouterr()
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert [*response.headers.keys()] == ["Content-Type", "Content-Length", "Cache-Control"]
    assert 'http_route="/health/live"' in response.text
    assert 'http_route="/metrics"' not in response.text
    head = client.head("/metrics")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("path", ["/metrics/", "/metrics/x", "/Metrics"])
def test_other_paths_are_not_the_endpoint(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_writes_are_rejected(client: FlaskClient) -> None:
    assert client.post("/metrics").status_code in {403, 404}


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::1", True),
        ("", True),
        ("11.1.2.3", False),
        ("::ffff:11.1.2.3", False),
        ("2001:db8::1", False),
        ("host", False),
    ],
)
def test_peer_must_be_in_an_allowed_network(peer: str, *, allowed: bool) -> None:
    assert is_allowed(peer, NETWORKS) is allowed


def test_other_peers_get_403(client: FlaskClient) -> None:
    response = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    assert response.status_code == 403
    assert "http_server" not in response.text


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"],
)
@pytest.mark.parametrize("hops", ["0", "1"])
def test_requests_through_a_proxy_get_403(
    make_app: Callable[..., Flask], header: str, hops: str
) -> None:
    client = make_app(TRUSTED_PROXY_HOPS=hops).test_client()
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_forged_header_does_not_open_the_endpoint(make_app: Callable[..., Flask]) -> None:
    client = make_app(TRUSTED_PROXY_HOPS="1").test_client()
    peer = {"REMOTE_ADDR": "203.0.113.9"}
    headers = {"X-Forwarded-For": "127.0.0.1"}
    response = client.get("/metrics", headers=headers, environ_overrides=peer)
    assert response.status_code == 403


def test_invalid_network_is_reported(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match=r"METRICS_ALLOWED_NETWORKS: .* got '10\.0\.0\.1/8'"):
        make_app(METRICS_ALLOWED_NETWORKS="10.0.0.1/8")


def test_only_the_development_server_shares_no_metrics(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_shared(**variables: str) -> bool:
        return "monitoring" in make_app(**variables).extensions

    assert not is_shared(FLASK_DEBUG="1")
    assert is_shared(FLASK_DEBUG="1", FLASK_TESTING="")
    # Set by the reloader of `flask run --debug`.
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    assert not is_shared(FLASK_DEBUG="1", FLASK_TESTING="")
