import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.access import (
    Permissions,
    find_undecided,
    get_rule,
)

PARAMETER = re.compile(r"<(?:\w+(?:\([^()]*\))?:)?\w+>")


def test_every_view_has_an_access_rule(app: Flask) -> None:
    """Production does not start otherwise: add `@requires(…)` or `@allow_anonymous`."""
    assert not [*find_undecided(app)]


def protected_views(app: Flask) -> Iterator[tuple[str, str, Permissions]]:
    for rule in app.url_map.iter_rules():
        permissions = get_rule(app, rule.endpoint)
        if permissions is not None:
            for method in (rule.methods or set()) - {"OPTIONS"}:
                yield PARAMETER.sub("1", rule.rule), method, permissions


@pytest.mark.usefixtures("anonymous")
def test_protected_views_reject_anonymous_requests(app: Flask, client: FlaskClient) -> None:
    for path, method, _ in protected_views(app):
        assert client.open(path, method=method).status_code == 401, path


def test_protected_views_require_their_permissions(
    app: Flask, client: FlaskClient, login: Callable[..., None]
) -> None:
    login()
    for path, method, permissions in protected_views(app):
        if permissions:
            assert client.open(path, method=method).status_code == 403, path


@pytest.mark.usefixtures("anonymous")
@pytest.mark.parametrize("path", ["/", "/docs", "/health/live"])
def test_everybody_may_read(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200
