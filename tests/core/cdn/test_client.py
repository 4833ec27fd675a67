from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from {{ cookiecutter.package_name }}.core.cdn import client as module

TOKEN = "a-token-that-is-secret"


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays between attempts, which are skipped."""
    delays: list[float] = []
    # Not the function for all modules: threads of libraries sleep, too.
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=delays.append))
    return delays


def test_busy_api_is_called_again(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
    replies: list[Any],
    delays: list[float],
) -> None:
    replies += [(503, {}, ""), (429, {"Retry-After": "7"}, ""), (500, {"Retry-After": "soon"}, "")]
    assert purge("--tag", "table").exit_code == 0
    assert len(requests) == 4
    assert requests[0] == requests[3]
    first, second, third = delays
    assert 0.25 <= first <= 0.5
    assert second == 7
    assert 1 <= third <= 2


def test_attempts_are_limited(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
    replies: list[Any],
    delays: list[float],
) -> None:
    replies += [(503, {"Retry-After": "86400"}, "closed\nfor today")] * 9
    result = purge("--tag", "table")
    assert result.exit_code == 1
    assert "503 closed for today" in result.output
    assert len(requests) == 4
    assert delays == [30, 30, 30]


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_rejected_call_is_not_repeated(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
    replies: list[Any],
    api_url: str,
    status: int,
) -> None:
    # The token is sent to the API only.
    replies.append((status, {"Location": f"{api_url}/elsewhere"}, '{"message": "no"}'))
    result = purge("--tag", "table")
    assert result.exit_code == 1
    assert f"{status} " in result.output
    assert result.output.count("\n") == 2
    assert TOKEN not in result.output
    assert len(requests) == 1


def test_unreachable_api_is_reported(purge: Callable[..., Result], delays: list[float]) -> None:
    result = purge("--tag", "table", CDN_API_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "refused" in result.output
    assert TOKEN not in result.output
    assert len(delays) == 3
