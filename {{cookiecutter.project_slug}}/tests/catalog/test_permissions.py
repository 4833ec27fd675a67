"""Who may change the catalog: tests of access rules, to copy for your own views."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.permissions import permissions_of

CATEGORIES = "/api/v1/categories"
KITES = {"name": "Kites"}


@pytest.mark.usefixtures("anonymous")
def test_anonymous_client_may_only_read(client: FlaskClient) -> None:
    assert client.get(CATEGORIES).status_code == 200
    assert client.post(CATEGORIES, json=KITES).status_code == 401


# {% if cookiecutter.__redirects %}
@pytest.mark.usefixtures("anonymous")
def test_browser_is_sent_to_the_login(client: FlaskClient) -> None:
    path = "/api/v1/products/1/record"
    response = client.get(path, headers={"Accept": "text/html"})
    assert response.status_code == 303
    assert response.location.endswith(f"/login?next={path}")


# {% endif %}
def test_user_without_role_may_not_write(client: FlaskClient, login: Callable[..., None]) -> None:
    login()
    response = client.post(CATEGORIES, json=KITES)
    assert response.status_code == 403
    assert response.get_json()["detail"] == "The permission catalog:write is missing."


def test_editor_may_write(client: FlaskClient, login: Callable[..., None]) -> None:
    login(*permissions_of(["editor"]))
    assert client.post(CATEGORIES, json=KITES).status_code == 201
