from collections.abc import Callable

import pytest
from flask import Flask, url_for
from flask.testing import EnvironBuilder
from werkzeug.routing import Map, Rule

from {{ cookiecutter.package_name }}.core import url_rules
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


REQUESTS: list[dict[str, str]] = [
    {},
    {"HTTP_HOST": "Shop.Example.com:8080", "PATH_INFO": "//items", "QUERY_STRING": "q=%C5%BE&a=1"},
    {"HTTP_HOST": "example.com:443", "wsgi.url_scheme": "https", "SCRIPT_NAME": "/shop"},
    {"HTTP_HOST": "[::1]:8000", "REQUEST_METHOD": "POST", "PATH_INFO": ""},
    {"HTTP_HOST": "not a host", "PATH_INFO": "/\u00c5\u00be", "QUERY_STRING": "\u00c5\u00be"},
    {"HTTP_HOST": f"{'a' * 63}.example.com"},
    {"HTTP_HOST": "", "SERVER_NAME": "10.0.0.1", "SERVER_PORT": "8000"},
    {"HTTP_CONNECTION": "upgrade", "HTTP_UPGRADE": "websocket"},
]

# Of Werkzeug's `MapAdapter`.
ATTRIBUTES = (
    "server_name",
    "script_name",
    "subdomain",
    "url_scheme",
    "path_info",
    "default_method",
    "query_args",
    "websocket",
)


@pytest.mark.parametrize("values", REQUESTS)
@pytest.mark.parametrize(
    "config", [{}, {"SERVER_NAME": "example.com"}, {"TRUSTED_HOSTS": ["example.com"]}]
)
def test_rules_are_bound_as_by_flask(values: dict[str, str], config: dict[str, object]) -> None:
    def bind(app: Flask) -> object:
        app.config.update(config)
        environ = {**EnvironBuilder(app).get_environ(), **values}
        context = app.request_context(environ)
        bound = [getattr(context.url_adapter, name, None) for name in ATTRIBUTES]
        return bound, vars(context.request).get("host"), type(context.request.routing_exception)

    quick = Flask("test")
    url_rules.init_app(quick)
    assert bind(quick) == bind(Flask("test"))
