from collections.abc import Callable
from typing import Any

from click.testing import Result

TOKEN = "a-token-that-nobody-sees"


def test_paths_and_tags_go_in_batches(
    purge: Callable[..., Result],
    asked: list[dict[str, Any]],
) -> None:
    paths = [f"/page/{number}" for number in range(101)]
    result = purge(*paths, "--tag", "table", "--tag", "other")
    assert result.exit_code == 0, result.output
    assert {request["path"] for request in asked} == {"/api/zones/E1/purge_cache"}
    assert {request["headers"]["authorization"] for request in asked} == {f"Bearer {TOKEN}"}
    first, second, third = (request["body"] for request in asked)
    assert first["files"][0] == "https://www.example.com/page/0"
    assert [len(body["files"]) for body in (first, second)] == [100, 1]
    assert third == {"tags": ["table", "other"]}


def test_everything(purge: Callable[..., Result], asked: list[dict[str, Any]]) -> None:
    assert purge("--everything").exit_code == 0
    assert [request["body"] for request in asked] == [{"purge_everything": True}]
