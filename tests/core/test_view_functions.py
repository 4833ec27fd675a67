"""Tests of the check for `async def` functions."""

from functools import partial
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core import (
    view_functions,
)


@pytest.fixture
def converting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Application that converts coroutine functions, as with `flask[async]`."""
    app = Flask("test")
    monkeypatch.setattr(app, "async_to_sync", lambda function: ("sync", function))
    view_functions.init_app(app)
    return app


class View:
    def get(self) -> str:
        return "ok"

    async def post(self) -> str:
        return "ok"


async def coroutine(**_: Any) -> str:
    return "ok"


def function(**_: Any) -> str:
    return "ok"


@pytest.mark.parametrize("plain", [function, View().get, partial(function, number=1), View])
def test_plain_functions_are_called(converting: Any, plain: Any) -> None:
    assert converting.ensure_sync(plain) == plain


@pytest.mark.parametrize("function", [coroutine, View().post, partial(coroutine, number=1)])
def test_coroutine_functions_are_converted(converting: Any, function: Any) -> None:
    assert converting.ensure_sync(function) == ("sync", function)


def test_marked_functions_are_left_to_flask(
    converting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def marked() -> Any:
        return coroutine()

    vars(marked)["mark"] = True
    monkeypatch.setattr("flask.app.iscoroutinefunction", lambda function: "mark" in vars(function))
    assert converting.ensure_sync(marked) == ("sync", marked)


def test_attributes_are_examined_once(converting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def decorated() -> str:
        return "ok"

    vars(decorated)["limit"] = "1/minute"
    examined: list[Any] = []
    monkeypatch.setattr("flask.app.iscoroutinefunction", examined.append)
    for _ in range(3):
        assert converting.ensure_sync(decorated) is decorated
    assert examined == [decorated]
