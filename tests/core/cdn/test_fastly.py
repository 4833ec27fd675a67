from collections.abc import Callable
from typing import Any

from click.testing import Result

TOKEN = "a-token-that-is-secret"


def test_paths_are_sent_one_by_one_and_keys_together(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
) -> None:
    result = purge("/a?b=c", "https://other.example.org/d", "--tag", "table", "--tag", "other")
    assert result.exit_code == 0, result.output
    assert [request["path"] for request in requests] == [
        "/api/purge/www.example.com/a?b=c",
        "/api/purge/other.example.org/d",
        "/api/service/E1/purge",
    ]
    assert {request["headers"]["fastly-key"] for request in requests} == {TOKEN}
    assert requests[2]["body"] == {"surrogate_keys": ["table", "other"]}


def test_purge_everything(purge: Callable[..., Result], requests: list[dict[str, Any]]) -> None:
    assert purge("--everything").exit_code == 0
    assert [request["path"] for request in requests] == ["/api/service/E1/purge_all"]
