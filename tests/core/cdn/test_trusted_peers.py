from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, request

from {{ cookiecutter.package_name }}.config import SettingsError

FORWARDED = {
    "X-Forwarded-For": "198.51.100.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Request-ID": "forged-request-id",
}


@pytest.fixture
def make_cdn_app(make_app: Callable[..., Flask], tmp_path: Path) -> Callable[..., Flask]:
    """Return a factory of applications with two CDN networks and views of the client's address."""
    file = tmp_path / "addresses.conf"
    file.write_text("# A comment.\n192.0.2.0/24\n2001:db8::/32\n")

    def make(**variables: str) -> Flask:
        app = make_app(CDN_ADDRESSES=str(file), **variables)
        app.add_url_rule(
            "/client", "client", lambda: [request.remote_addr, request.scheme, request.host]
        )
        app.add_url_rule("/prefix", "prefix", lambda: request.script_root)
        return app

    return make


@pytest.mark.parametrize("peer", ["192.0.2.5", "2001:db8::5", "::ffff:192.0.2.5"])
def test_headers_of_the_cdn_are_trusted(make_cdn_app: Callable[..., Flask], peer: str) -> None:
    client = make_cdn_app(TRUSTED_PROXY_HOPS="1").test_client()
    response = client.get("/client", headers=FORWARDED, environ_base={"REMOTE_ADDR": peer})
    prefix = client.get("/prefix", headers=FORWARDED, environ_base={"REMOTE_ADDR": peer})
    assert prefix.text == ""
    # The CDN does not set this header, so it comes from the client.
    assert response.json == ["198.51.100.9", "https", "localhost"]
    assert response.headers["X-Request-ID"] == FORWARDED["X-Request-ID"]


@pytest.mark.parametrize("peer", ["203.0.113.1", "2001:db9::1", "unknown", ""])
def test_headers_of_other_peers_are_dropped(make_cdn_app: Callable[..., Flask], peer: str) -> None:
    client = make_cdn_app(TRUSTED_PROXY_HOPS="1").test_client()
    response = client.get("/client", headers=FORWARDED, environ_base={"REMOTE_ADDR": peer})
    assert response.json == [peer, "http", "localhost"]
    assert response.headers["X-Request-ID"] != FORWARDED["X-Request-ID"]


def test_forged_address_does_not_evade_the_rate_limit(make_cdn_app: Callable[..., Flask]) -> None:
    client = make_cdn_app(TRUSTED_PROXY_HOPS="1", RATE_LIMIT="2/day").test_client()
    statuses = [
        client.get("/client", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
        for number in range(3)
    ]
    assert statuses == [200, 200, 429]


def test_missing_networks_are_a_settings_error(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("# Nothing yet.\n")
    for name in ("empty", "missing"):
        variables = {"CDN_ADDRESSES": str(tmp_path / name), "TRUSTED_PROXY_HOPS": "1"}
        with pytest.raises(SettingsError, match=f"CDN_ADDRESSES: .*{name}"):
            make_app(**variables)
        assert make_app(**{**variables, "TRUSTED_PROXY_HOPS": "0"})
