from collections.abc import Callable

from flask import Flask

from {{ cookiecutter.package_name }}.core.cache import cache


def test_page_shows_cache_calls(make_app: Callable[..., Flask]) -> None:
    app = make_app(FLASK_DEBUG="1")

    @cache.memoize(tags=["note"])
    def count_notes() -> int:
        return 7

    @app.get("/count")
    def count() -> str:
        return f"{count_notes()} {count_notes()}"

    @app.get("/change")
    def change() -> str:
        cache.invalidate("note")
        return ""

    for view in (count, change):
        vars(view)["access_rule"] = None
    client = app.test_client()
    client.get("/change")
    client.get("/count")
    counted, changed = app.extensions["debug_panel"]
    rows = [(row["result"], row["tags"]) for row in counted.tables["Cache"]]
    assert rows == [("miss", "note"), ("hit", "note")]
    assert "count_notes" in counted.tables["Cache"][0]["name"]
    assert [row["result"] for row in changed.tables["Cache"]] == ["invalidated"]
