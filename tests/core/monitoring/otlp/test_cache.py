"""Spans of the cache."""

from collections.abc import Callable

from flask import Flask

from {{ cookiecutter.package_name }}.core.cache import cache

from .conftest import Spans


def test_operations_are_spans(make_traced_app: Callable[..., Flask], spans: Spans) -> None:
    app = make_traced_app()

    @cache.memoize(tags=["note"])
    def count_notes() -> int:
        return 7

    def count() -> str:
        cache.invalidate("note")
        return f"{count_notes()} {count_notes()}"

    vars(count)["access_rule"] = None
    app.add_url_rule("/count", "count", count)
    assert app.test_client().get("/count").text == "7 7"
    names = [span.name for span in spans.ended]
    assert names[0] == "cache delete"
    assert names[-3:] == ["cache set", "cache get", "GET /count"]
    hits = [dict(span.attributes or {}).get("cache.hit") for span in spans.ended]
    assert [hit for hit in hits if hit is not None][-1:] == [True]
    assert hits[1] is False
    assert "count_notes" not in spans.exported


def test_calls_outside_of_a_request_are_no_spans(
    make_traced_app: Callable[..., Flask], spans: Spans
) -> None:
    @cache.memoize(tags=["note"])
    def count_notes() -> int:
        return 7

    with make_traced_app().app_context():
        cache.invalidate("note")
        assert count_notes() == 7
    assert not spans.ended
