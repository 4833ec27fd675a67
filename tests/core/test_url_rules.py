from collections.abc import Callable

import pytest
from flask import Flask, url_for
from werkzeug.routing import Map, Rule

from {{ cookiecutter.package_name }}.core.url_rules import LazyRule

RULES: list[tuple[str, dict[str, object]]] = [
    ("/items/<int:id>", {"id": 7}),
    ("/items/<int:id>", {"id": 7, "page": 2, "q": "ž /"}),
    ("/files/<path:name>", {"name": "a b/ž"}),
    ("/", {}),
]


@pytest.mark.parametrize(("path", "values"), RULES)
@pytest.mark.parametrize("append_unknown", [True, False])
def test_urls_equal_those_of_werkzeug(
    path: str, values: dict[str, object], append_unknown: bool
) -> None:
    eager, lazy = (
        Map([rule_class(path, endpoint="view")]).bind("example.com")
        for rule_class in (Rule, LazyRule)
    )
    expected = eager.build("view", values, append_unknown=append_unknown)
    for _ in range(2):
        assert lazy.build("view", values, append_unknown=append_unknown) == expected


def test_builder_is_compiled_once_on_first_use(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_builder = Rule._compile_builder
    compiled = []

    def record(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled.append(rule.endpoint)
        return compile_builder(rule, append_unknown)

    monkeypatch.setattr(Rule, "_compile_builder", record)
    app = make_app()
    # Flask adds the rule of static files before the class of rules is set.
    assert {*compiled} == {"static"}
    compiled.clear()
    with app.test_request_context():
        assert {url_for("health.live") for _ in range(2)} == {"/health/live"}
    assert compiled == ["health.live"]
