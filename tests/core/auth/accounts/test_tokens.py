from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from {{ cookiecutter.package_name }}.core.auth import get_identity
from {{ cookiecutter.package_name }}.core.auth.accounts import tokens
from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    ApiToken,
    UserSession,
)
from {{ cookiecutter.package_name }}.core.database import (
    get_session,
    utcnow,
)
from {{ cookiecutter.package_name }}.permissions import ROLES

from .conftest import API, EMAIL, read

needs_role = pytest.mark.skipif(not ROLES, reason="the project has no roles")


@pytest.fixture
def editor(create_user: Callable[..., int]) -> str:
    """The first role of the project, which the user has."""
    role = next(iter(ROLES), "editor")
    create_user(EMAIL, role)
    return role


@pytest.fixture
def create(editor: str, log_in: Callable[..., FlaskClient]) -> Callable[..., Any]:
    """Function that creates a token, and returns the body of the response."""
    client = log_in()

    def create(name: str = "script", **values: Any) -> Any:
        response = client.post(f"{API}/tokens", json={"name": name, **values})
        assert response.status_code == 201, response.text
        return response.json

    return create


def bearer(token: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


def change_tokens(app: Flask, **values: object) -> None:
    with app.app_context():
        get_session().execute(update(ApiToken).values(**values))
        get_session().commit()


@needs_role
def test_token_has_the_chosen_permissions(
    client: FlaskClient, create: Callable[..., Any], editor: str
) -> None:
    permission = min(ROLES[editor])
    with client.application.test_request_context(**bearer(create(scopes=[permission])["token"])):
        identity = tokens.load_identity()
        assert identity
        assert identity.permissions == {permission}
    with client.application.test_request_context(**bearer(create(scopes=[])["token"])):
        identity = tokens.load_identity()
        assert identity
        assert not identity.permissions


@needs_role
def test_token_loses_a_permission_with_its_user(
    app: Flask, create: Callable[..., Any], editor: str
) -> None:
    token = create(scopes=[min(ROLES[editor])])["token"]
    app.test_cli_runner().invoke(args=["users", "revoke", EMAIL, editor])
    with app.test_request_context(**bearer(token)):
        identity = tokens.load_identity()
        assert identity
        assert not identity.permissions


def test_token_is_shown_once_and_stored_as_a_hash(
    app: Flask, create: Callable[..., Any], log_in: Callable[..., FlaskClient]
) -> None:
    token = create()["token"]
    assert token.startswith("pat_")
    client = log_in()
    assert token not in client.get(f"{API}/tokens").text
    (row,) = read(client, "/tokens")
    assert (row["name"], row["used_at"]) == ("script", None)
    with app.app_context():
        stored = get_session().scalar(select(ApiToken))
        assert token not in str(vars(stored))


def test_last_use_is_listed(
    client: FlaskClient, create: Callable[..., Any], log_in: Callable[..., FlaskClient]
) -> None:
    token = create()["token"]
    assert client.get(API, **bearer(token)).status_code == 200
    (row,) = read(log_in(), "/tokens")
    assert row["used_at"]


def test_request_with_a_token_costs_one_query_at_most(
    app: Flask, client: FlaskClient, create: Callable[..., Any], record_queries: Callable[..., Any]
) -> None:
    token = create()["token"]
    client.get(API, **bearer(token))
    with record_queries(app) as executed, app.test_request_context(**bearer(token)):
        assert get_identity()
    # None with a cache that processes share.
    assert len(executed) <= 1


@pytest.mark.parametrize("token", ["", "pat_forged", "é", "x" * 10_000])
def test_forged_token_is_rejected(client: FlaskClient, token: str) -> None:
    response = client.get(API, **bearer(token))
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"] or (
        "error=invalid_token" in response.headers["WWW-Authenticate"]
    )


def test_request_without_a_token_gets_a_challenge(client: FlaskClient) -> None:
    response = client.get(API)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "error" not in response.headers["WWW-Authenticate"]


def test_expired_token_is_rejected(
    app: Flask, client: FlaskClient, create: Callable[..., Any]
) -> None:
    token = create(days=1)["token"]
    change_tokens(app, expires_at=utcnow() + timedelta(seconds=5))
    assert client.get(API, **bearer(token)).status_code == 200
    change_tokens(app, expires_at=utcnow())
    assert client.get(API, **bearer(token)).status_code == 401


def test_revoked_token_is_rejected(
    client: FlaskClient,
    create: Callable[..., Any],
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
) -> None:
    created = create()
    create_user("grace@example.com")
    url = f"{API}/tokens/{created['id']}"
    assert log_in("grace@example.com").delete(url).status_code == 404
    assert client.get(API, **bearer(created["token"])).status_code == 200
    assert log_in().delete(url).status_code == 204
    assert client.get(API, **bearer(created["token"])).status_code == 401


def test_token_of_a_disabled_user_is_rejected(
    app: Flask, client: FlaskClient, create: Callable[..., Any]
) -> None:
    token = create()["token"]
    app.test_cli_runner().invoke(args=["users", "disable", EMAIL])
    assert client.get(API, **bearer(token)).status_code == 401


@pytest.mark.usefixtures("ada")
def test_invalid_token_does_not_fall_back_to_the_session(
    log_in: Callable[..., FlaskClient],
) -> None:
    assert log_in().get(API, **bearer("pat_forged")).status_code == 401


def test_token_cannot_change_the_account(client: FlaskClient, create: Callable[..., Any]) -> None:
    options = bearer(create()["token"])
    assert client.post(f"{API}/tokens", json={"name": "a"}, **options).status_code == 403
    assert client.get(f"{API}/tokens", **options).status_code == 403
    assert client.delete(f"{API}/sessions", **options).status_code == 403
    json = {"current_password": "x", "password": "y"}
    assert client.put(f"{API}/password", json=json, **options).status_code == 422
    assert client.put(f"{API}/address", json={"email": "a@b"}, **options).status_code == 403


@pytest.mark.parametrize(
    "values",
    [
        {"scopes": ["no:permission"]},
        {"days": 0},
        {"days": 366},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\0b"},
        {"name": "a\n"},
    ],
)
@pytest.mark.usefixtures("ada")
def test_invalid_values_are_rejected(
    log_in: Callable[..., FlaskClient], values: dict[str, Any]
) -> None:
    response = log_in().post(f"{API}/tokens", json={"name": "script", **values})
    assert response.status_code == 422


@pytest.mark.usefixtures("ada")
def test_new_token_needs_a_recent_password(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    with app.app_context():
        long_ago = utcnow() - timedelta(hours=1)
        get_session().execute(update(UserSession).values(authenticated_at=long_ago))
        get_session().commit()
    assert client.post(f"{API}/tokens", json={"name": "script"}).status_code == 403


def test_number_of_tokens_is_limited(
    create: Callable[..., Any],
    log_in: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    create()
    create()
    assert log_in().post(f"{API}/tokens", json={"name": "third"}).status_code == 422
