import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

TOKEN = "a-token-that-nobody-sees"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


def test_a_busy_interface_is_asked_again(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
    answers: list[Any],
    pauses: list[float],
) -> None:
    answers += [(503, {}, ""), (429, {"Retry-After": "7"}, ""), (500, {"Retry-After": "soon"}, "")]
    assert purge("--tag", "table").exit_code == 0
    assert len(asked) == 4
    assert asked[0] == asked[3]
    first, second, third = pauses
    assert 0.25 <= first <= 0.5
    assert second == 7
    assert 1 <= third <= 2


def test_it_is_given_up(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
    answers: list[Any],
    pauses: list[float],
) -> None:
    answers += [(503, {"Retry-After": "86400"}, "closed\nfor today")] * 9
    result = purge("--tag", "table")
    assert result.exit_code == 1
    assert "503 closed for today" in result.output
    assert len(asked) == 4
    assert pauses == [30, 30, 30]


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_a_refusal_is_final(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
    answers: list[Any],
    interface: str,
    status: int,
) -> None:
    # A token goes nowhere but to the interface.
    answers.append((status, {"Location": f"{interface}/elsewhere"}, '{"message": "no"}'))
    result = purge("--tag", "table")
    assert result.exit_code == 1
    assert f"{status} " in result.output
    assert result.output.count("\n") == 2
    assert TOKEN not in result.output
    assert len(asked) == 1


def test_no_interface_is_told(purge: Callable[..., Result], pauses: list[float]) -> None:
    result = purge("--tag", "table", CDN_API_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "refused" in result.output
    assert TOKEN not in result.output
    assert len(pauses) == 3
