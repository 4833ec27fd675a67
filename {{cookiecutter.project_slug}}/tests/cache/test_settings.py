from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.cache import BACKENDS
from {{ cookiecutter.package_name }}.config import SettingsError


@pytest.mark.parametrize("url", ["oracle://server", "http://localhost:6379", "memory"])
def test_an_unknown_cache_is_refused_in_one_line(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match=r"CACHE_URL: [Ee]xpected") as caught:
        make_app(CACHE_URL=url)
    assert len(caught.value.message.splitlines()) == 2


def test_the_memory_of_the_process_is_never_lacking() -> None:
    assert "memory" in BACKENDS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CACHE_PREFIX", "two:parts"),
        ("CACHE_PREFIX", ".."),
        ("CACHE_VERSION", "*"),
        ("CACHE_VERSION", "last line break\n"),
        ("CACHE_TIMEOUT", "0"),
        ("CACHE_VIEW_LIFETIME", "0"),
        ("CACHE_QUERY_LIFETIME", "a while"),
        ("CACHE_FRAGMENT_LIFETIME", "-1"),
        ("CACHE_STALE", "-1"),
        ("CACHE_STALE", "2592001"),
        ("CACHE_PATIENCE", "0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    make_app: Callable[..., Flask], name: str, text: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        make_app(**{name: text})


def test_readiness_asks_the_cache(client: FlaskClient) -> None:
    ready = client.get("/health/ready").get_json()
    assert ready["status"] == "ok"
    assert ready["checks"]["cache"]["status"] == "ok"


def test_without_the_cache_the_application_is_degraded_and_not_down(
    make_app: Callable[..., Flask],
) -> None:
    def fail() -> None:
        raise ConnectionRefusedError

    app = make_app()
    app.extensions["health"]["cache"].ask = fail
    ready = app.test_client().get("/health/ready")
    assert ready.status_code == 200
    assert ready.get_json()["status"] == "degraded"
    assert ready.get_json()["checks"]["cache"]["error"] == "ConnectionRefusedError"
