from wsgiref.types import WSGIEnvironment

import pytest
from flask import Flask, Response, abort

from {{ cookiecutter.package_name }}.core import hooks


@pytest.fixture
def plain() -> Flask:
    """An application without components."""
    app = Flask("test")
    hooks.init_app(app)
    app.add_url_rule("/", view_func=lambda: "view")
    return app


def test_functions_are_called_in_the_order_of_flask(plain: Flask) -> None:
    calls = []

    def before(environ: WSGIEnvironment) -> None:
        calls.append(environ["PATH_INFO"])

    def add(text: str) -> hooks.After:
        def after(response: Response, environ: WSGIEnvironment) -> Response:
            calls.append(f"{text} {environ['REQUEST_METHOD']}")
            return Response(f"{response.get_data(as_text=True)} {text}")

        return after

    hooks.before_request(plain, before)
    hooks.before_request(plain, lambda _: calls.append("second"))
    hooks.after_request(plain, add("last"))
    hooks.after_request(plain, add("first"))
    assert plain.test_client().get("/").text == "view first last"
    assert calls == ["/", "second", "first GET", "last GET"]


def test_exception_before_the_request_is_its_response(plain: Flask) -> None:
    def reject(_: WSGIEnvironment) -> None:
        abort(403)

    hooks.before_request(plain, reject)
    hooks.before_request(plain, lambda _: pytest.fail("called after a rejection"))
    hooks.after_request(plain, lambda response, _: response)
    assert plain.test_client().get("/").status_code == 403
