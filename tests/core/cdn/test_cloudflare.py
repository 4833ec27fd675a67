from collections.abc import Callable
from typing import Any

from click.testing import Result

TOKEN = "a-token-that-is-secret"


def test_paths_and_tags_are_sent_in_batches(
    purge: Callable[..., Result],
    requests: list[dict[str, Any]],
) -> None:
    paths = [f"/page/{number}" for number in range(101)]
    result = purge(*paths, "--tag", "table", "--tag", "other")
    assert result.exit_code == 0, result.output
    assert {request["path"] for request in requests} == {"/api/zones/E1/purge_cache"}
    assert {request["headers"]["authorization"] for request in requests} == {f"Bearer {TOKEN}"}
    first, second, third = (request["body"] for request in requests)
    assert first["files"][0] == "https://www.example.com/page/0"
    assert [len(body["files"]) for body in (first, second)] == [100, 1]
    assert third == {"tags": ["table", "other"]}


def test_purge_everything(purge: Callable[..., Result], requests: list[dict[str, Any]]) -> None:
    assert purge("--everything").exit_code == 0
    assert [request["body"] for request in requests] == [{"purge_everything": True}]
