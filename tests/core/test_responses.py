from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from {{ cookiecutter.package_name }}.core import responses

RESPONSES: dict[str, Callable[[type[flask.Response]], flask.Response]] = {
    "text": lambda kind: kind("žluť"),
    "empty": lambda kind: kind(""),
    "bytes": lambda kind: kind(b"abc", headers=[("Vary", "Accept"), ("Vary", "Cookie")]),
    "chunks": lambda kind: kind([b"abc", b"d"]),
    "chunks with their length": lambda kind: kind([b"a", b"b"], headers={"Content-Length": "2"}),
    "texts with their length": lambda kind: kind(["ž", "b"], headers={"Content-Length": "3"}),
    "tuple": lambda kind: kind((b"abc",), headers={"Content-Length": "3"}),
    "stream": lambda kind: kind(iter([b"abc"]), headers={"Content-Length": "3"}),
    "location": lambda kind: kind("abc", headers={"location": "/ž"}),
    "content location": lambda kind: kind("abc", headers={"Content-Location": "/ž"}),
    "created": lambda kind: kind("abc", 201, {"Location": "/items/1"}),
    "no content": lambda kind: kind("abc", 204),
    "not modified": lambda kind: kind("abc", 304),
    "error": lambda kind: kind("abc", 503),
    "own status": lambda kind: kind("abc", "200 Fine"),
}


def send(response: flask.Response, method: str) -> tuple[bytes, str, list[tuple[str, str]]]:
    body, status, headers = run_wsgi_app(response, create_environ(method=method))
    return b"".join(body), status, [*headers]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("name", RESPONSES)
def test_response_equals_that_of_flask(name: str, method: str) -> None:
    make = RESPONSES[name]
    assert send(make(responses.Response), method) == send(make(flask.Response), method)


def test_body_in_memory_is_passed_on() -> None:
    response = responses.Response("abc")
    assert response(create_environ(), lambda *_: lambda _: None) is response.response


def test_headers_that_middleware_adds_are_not_those_of_the_response() -> None:
    response = responses.Response("abc")
    _, _, headers = response.get_wsgi_response(create_environ())
    headers.append(("X-Added", "1"))
    assert "X-Added" not in response.headers


def test_function_on_close_is_called() -> None:
    response = responses.Response("abc")
    calls: list[str] = []
    response.call_on_close(lambda: calls.append("closed"))
    body: Any = response(create_environ(), lambda *_: lambda _: None)
    body.close()
    assert calls == ["closed"]


def test_responses_of_views_have_this_class(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    views: dict[str, Any] = {
        "text": lambda: "a",
        "dictionary": lambda: {"a": 1},
        "own": lambda: flask.Response("a"),
        "error": lambda: flask.abort(404),
    }
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, view)
    for name in views:
        with app.test_request_context(f"/{name}"):
            assert type(app.full_dispatch_request()) is responses.Response
