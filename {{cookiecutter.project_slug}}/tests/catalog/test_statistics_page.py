from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

Record = dict[str, Any]


def test_the_page_shows_the_figures(
    client: FlaskClient,
    add_product: Callable[[str], Record],
) -> None:
    client.post("/api/v1/categories", json={"name": "Arts & <Crafts>"})
    add_product("apple")
    for _ in range(2):
        page = client.get("/statistics").text
        assert "Arts &amp; &lt;Crafts&gt;" in page
        assert "<td>Books</td>" in page
        assert "12.50" in page
    assert 'href="/statistics"' in client.get("/").text


def test_its_table_is_made_once_until_something_changes(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    logged: Callable[[], list[Record]],
) -> None:
    add_product("apple")
    logged()
    for _ in range(3):
        client.get("/statistics")
    # The page misses its table, and the table the figures.
    first, *others = logged()
    assert (first["queries"], first["cache_misses"]) == (1, 2)
    assert [(record.get("queries"), record["cache_hits"]) for record in others] == [(None, 1)] * 2

    before = client.get("/statistics").text
    add_product("beech")
    assert client.get("/statistics").text != before


def test_the_page_itself_is_private(client: FlaskClient) -> None:
    assert client.get("/statistics").headers["Cache-Control"] == "private, no-cache"
