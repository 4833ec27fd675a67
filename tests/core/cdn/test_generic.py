from collections.abc import Callable
from typing import Any

from click.testing import Result

TOKEN = "a-token-that-is-secret"


def test_paths_and_keys_are_purged(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
) -> None:
    result = purge("/a?b=c", "https://other.example.org", "--tag", "table", "--tag", "other")
    assert result.exit_code == 0, result.output
    assert {request["method"] for request in requests} == {"PURGE"}
    assert [request["path"] for request in requests] == ["/api/a?b=c", "/api/", "/api/"]
    first, second, third = (request["headers"] for request in requests)
    assert first["host"] == "www.example.com"
    assert second["host"] == "other.example.org"
    assert third["surrogate-key"] == "table other"
    assert first["authorization"] == f"Bearer {TOKEN}"


def test_purge_everything_without_a_token(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
) -> None:
    assert purge("--everything", CDN_TOKEN="").exit_code == 0
    (request,) = requests
    assert request["headers"]["surrogate-key"] == "*"
    assert "authorization" not in request["headers"]
