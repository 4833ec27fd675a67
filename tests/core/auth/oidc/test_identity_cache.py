from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def browsers(make_browser: Callable[..., Any], shared_cache: str) -> tuple[Any, Any]:
    """Browsers of two processes, with one session that is in the cache."""
    first, second = (make_browser(CACHE_URL=shared_cache) for _ in range(2))
    first.log_in()
    assert first.whoami()
    second.client.set_cookie("__Host-session", first.cookie, secure=True, domain="localhost")
    return first, second


def test_request_with_a_cached_session_costs_no_query(
    browsers: tuple[Any, Any], record_queries: Callable[..., Any]
) -> None:
    for browser in browsers:
        with record_queries(browser.app) as statements:
            assert browser.whoami()
        assert statements == []


def log_out(browser: Any) -> None:
    browser.post("/logout")


def log_in_again(browser: Any) -> None:
    browser.log_in(sub="another")


def disable(browser: Any) -> None:
    result = browser.app.test_cli_runner().invoke(args=["users", "disable", browser.whoami()[0]])
    assert result.exit_code == 0


@pytest.mark.parametrize("revoke", [log_out, log_in_again, disable])
def test_cached_session_ends_immediately(
    browsers: tuple[Any, Any], revoke: Callable[[Any], None]
) -> None:
    first, second = browsers
    revoke(second)
    assert first.whoami() == []


def test_cached_user_changes_with_the_next_login(
    browsers: tuple[Any, Any], make_browser: Callable[..., Any], shared_cache: str
) -> None:
    first, _ = browsers
    make_browser(CACHE_URL=shared_cache).log_in(name="Ada Lovelace")
    assert first.whoami()[1] == "Ada Lovelace"
