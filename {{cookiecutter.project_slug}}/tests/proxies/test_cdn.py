from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, request

from {{ cookiecutter.package_name }}.config import SettingsError

FORWARDED = {
    "X-Forwarded-For": "203.0.113.7, 198.51.100.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Request-ID": "forged-request-id",
}


@pytest.fixture
def make_guarded(make_app: Callable[..., Flask], tmp_path: Path) -> Callable[..., Flask]:
    """Make an application that knows two networks of a CDN, and tells what it knows of a client."""
    file = tmp_path / "addresses.conf"
    file.write_text("# A comment.\n192.0.2.0/24\n2001:db8::/32\n")

    def make(**variables: str) -> Flask:
        app = make_app(CDN_ADDRESSES=str(file), **variables)
        app.add_url_rule(
            "/client", "client", lambda: [request.remote_addr, request.scheme, request.host]
        )
        return app

    return make


@pytest.mark.parametrize("peer", ["192.0.2.5", "2001:db8::5", "::ffff:192.0.2.5"])
def test_the_cdn_is_believed(make_guarded: Callable[..., Flask], peer: str) -> None:
    client = make_guarded(TRUSTED_PROXY_HOPS="1").test_client()
    answer = client.get("/client", headers=FORWARDED, environ_base={"REMOTE_ADDR": peer})
    # But not what it hands on without having said it.
    assert answer.json == ["198.51.100.9", "https", "localhost"]
    assert answer.headers["X-Request-ID"] == FORWARDED["X-Request-ID"]


@pytest.mark.parametrize("peer", ["203.0.113.1", "2001:db9::1", "unknown", ""])
def test_others_are_not(make_guarded: Callable[..., Flask], peer: str) -> None:
    client = make_guarded(TRUSTED_PROXY_HOPS="1").test_client()
    answer = client.get("/client", headers=FORWARDED, environ_base={"REMOTE_ADDR": peer})
    assert answer.json == [peer, "http", "localhost"]
    assert answer.headers["X-Request-ID"] != FORWARDED["X-Request-ID"]


def test_a_forged_address_is_no_way_around_a_limit(make_guarded: Callable[..., Flask]) -> None:
    client = make_guarded(TRUSTED_PROXY_HOPS="1", RATE_LIMIT="2/day").test_client()
    statuses = [
        client.get("/client", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
        for number in range(3)
    ]
    assert statuses == [200, 200, 429]


def test_without_a_list_it_does_not_start(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# Nothing yet.\n")
    for name in ("empty", "missing"):
        variables = {"CDN_ADDRESSES": str(tmp_path / name), "TRUSTED_PROXY_HOPS": "1"}
        with pytest.raises(SettingsError, match=f"CDN_ADDRESSES: .*{name}"):
            make_app(**variables)
        assert make_app(**{**variables, "TRUSTED_PROXY_HOPS": "0"})
