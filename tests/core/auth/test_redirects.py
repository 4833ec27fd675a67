import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.auth.redirects import (
    current_url,
    local_url,
)


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("/products?a=1#b", "/products?a=1#b"),
        ("/", "/"),
        ("/%2F/evil.example", "/%2F/evil.example"),
        (None, "/"),
        ("products", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("/ /evil.example", "/"),
        ("/\x00", "/"),
        ("https://localhost/", "/"),
        (f"/{'a' * 2000}", "/"),
    ],
)
def test_only_paths_of_this_site_are_allowed(app: Flask, target: str | None, result: str) -> None:
    with app.test_request_context():
        assert local_url(target) == result


def test_current_url_has_prefix_and_query(app: Flask) -> None:
    with app.test_request_context("/a?b=%20c", environ_overrides={"SCRIPT_NAME": "/shop"}):
        assert current_url() == "/shop/a?b=%20c"
        assert local_url(None) == "/shop/"
