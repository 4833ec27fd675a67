import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

REFUSED = "<ErrorResponse><Error><Code>{}</Code><Message>No.</Message></Error></ErrorResponse>"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, as boto3 takes them from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-sees")


def test_paths_and_tags_are_one_invalidation(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
) -> None:
    result = purge("/a?b=c", "https://cdn.example.net", "--tag", "table", "--everything")
    assert result.exit_code == 0, result.output
    (request,) = asked
    assert request["method"] == "POST"
    assert re.fullmatch(r"/api/20\d\d-\d\d-\d\d/distribution/E1/invalidation", request["path"])
    paths = re.findall(r"<Path>(.*?)</Path>", request["body"])
    assert paths == ["/*", "/a?b=c", "/", "#table"]
    assert "<Quantity>4</Quantity>" in request["body"]


def test_a_refusal_is_told_in_one_line(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
    answers: list[Any],
) -> None:
    answers.append((403, {}, REFUSED.format("AccessDenied")))
    result = purge("/a")
    assert result.exit_code == 1
    assert "AccessDenied" in result.output
    assert result.output.count("\n") == 2
    assert "a-secret-that-nobody-sees" not in result.output
    assert len(asked) == 1


def test_too_many_calls_are_repeated(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
    answers: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    answers += [(400, {}, REFUSED.format("Throttling")), (503, {}, "")]
    assert purge("/a").exit_code == 0
    assert len(asked) == 3
