from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.cache import BACKENDS


@pytest.mark.parametrize("url", ["oracle://server", "http://localhost:6379", "memory"])
def test_unknown_scheme_is_rejected(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match=r"CACHE_URL: [Ee]xpected") as caught:
        make_app(CACHE_URL=url)
    assert len(str(caught.value).splitlines()) == 2


def test_memory_is_always_available() -> None:
    assert "memory" in BACKENDS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CACHE_PREFIX", "two:parts"),
        ("CACHE_PREFIX", ".."),
        ("CACHE_VERSION", "*"),
        ("CACHE_VERSION", "last line break\n"),
        ("CACHE_TIMEOUT", "0"),
        ("CACHE_VIEW_TTL", "0"),
        ("CACHE_QUERY_TTL", "a while"),
        ("CACHE_FRAGMENT_TTL", "-1"),
        ("CACHE_STALE_TTL", "-1"),
        ("CACHE_STALE_TTL", "2592001"),
        ("CACHE_LOCK_TIMEOUT", "0"),
    ],
)
def test_invalid_setting_is_rejected(make_app: Callable[..., Flask], name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        make_app(**{name: text})


def test_readiness_includes_the_cache(client: FlaskClient) -> None:
    ready = client.get("/health/ready").get_json()
    assert ready["status"] == "ok"
    assert ready["checks"]["cache"]["status"] == "ok"


def test_unavailable_cache_makes_the_application_degraded(
    make_app: Callable[..., Flask],
) -> None:
    def fail() -> None:
        raise ConnectionRefusedError

    app = make_app()
    app.extensions["health"]["cache"].probe = fail
    ready = app.test_client().get("/health/ready")
    assert ready.status_code == 200
    assert ready.get_json()["status"] == "degraded"
    assert ready.get_json()["checks"]["cache"]["error"] == "ConnectionRefusedError"
