import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

ERROR = "<ErrorResponse><Error><Code>{}</Code><Message>No.</Message></Error></ErrorResponse>"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, as boto3 takes them from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-is-secret")


def test_paths_and_tags_are_one_invalidation(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
) -> None:
    result = purge("/a?b=c", "https://cdn.example.net", "--tag", "table", "--everything")
    assert result.exit_code == 0, result.output
    (request,) = requests
    assert request["method"] == "POST"
    assert re.fullmatch(r"/api/20\d\d-\d\d-\d\d/distribution/E1/invalidation", request["path"])
    paths = re.findall(r"<Path>(.*?)</Path>", request["body"])
    assert paths == ["/*", "/a?b=c", "/", "#table"]
    assert "<Quantity>4</Quantity>" in request["body"]


def test_error_is_reported_in_one_line(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
    replies: list[Any],
) -> None:
    replies.append((403, {}, ERROR.format("AccessDenied")))
    result = purge("/a")
    assert result.exit_code == 1
    assert "AccessDenied" in result.output
    assert result.output.count("\n") == 2
    assert "a-secret-that-is-secret" not in result.output
    assert len(requests) == 1


def test_throttled_call_is_repeated(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
    replies: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    replies += [(400, {}, ERROR.format("Throttling")), (503, {}, "")]
    assert purge("/a").exit_code == 0
    assert len(requests) == 3
