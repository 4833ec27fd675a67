from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

Record = dict[str, Any]

STATISTICS = "/api/v1/statistics"
# {% if cookiecutter.database == "mongodb" %}
QUERIES = 2
# {% else %}
QUERIES = 1
# {% endif %}


def test_statistics_summarize_each_category(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    for name in ("apple", "beech"):
        add_product(name)
    client.post("/api/v1/categories", json={"name": "Art"})
    prices = ("lowest_price_cents", "highest_price_cents")
    assert client.get(STATISTICS).get_json() == [
        {"category": "Art", "products": 0, "sold_out": 0, **dict.fromkeys(prices)},
        {"category": "Books", "products": 2, "sold_out": 2, **dict.fromkeys(prices, 1250)},
    ]


# {% if cookiecutter.__cached_pages %}
def test_statistics_page_escapes_names(
    client: FlaskClient, add_product: Callable[[str], Record]
) -> None:
    client.post("/api/v1/categories", json={"name": "Arts & <Crafts>"})
    add_product("apple")
    for _ in range(2):
        page = client.get("/statistics").text
        assert "Arts &amp; &lt;Crafts&gt;" in page
        assert "<td>Books</td>" in page
        assert "€12.50" in page
    assert 'href="/statistics"' in client.get("/").text


def test_statistics_table_is_cached_until_commit(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    read_logs: Callable[[], list[Record]],
) -> None:
    add_product("apple")
    read_logs()
    for _ in range(3):
        client.get("/statistics")
    # The first request computes the fragment and the query result.
    first, *others = read_logs()
    assert (first["queries"], first["cache_misses"]) == (QUERIES, 2)
    assert [(record.get("queries"), record["cache_hits"]) for record in others] == [(None, 1)] * 2

    before = client.get("/statistics").text
    add_product("beech")
    assert client.get("/statistics").text != before


# {% endif %}
def test_statistics_query_is_cached_until_commit(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    read_logs: Callable[[], list[Record]],
) -> None:
    add_product("apple")
    read_logs()
    for _ in range(3):
        client.get(STATISTICS)
    assert [record.get("queries", 0) for record in read_logs()] == [QUERIES, 0, 0]
    add_product("beech")
    assert client.get(STATISTICS).get_json()[0]["products"] == 2
