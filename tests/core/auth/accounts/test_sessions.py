from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }}.core.auth import retention
from {{ cookiecutter.package_name }}.core.auth.accounts import sessions, users
from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    User,
    UserSession,
)
from {{ cookiecutter.package_name }}.core.auth.stored_tokens import hash_token
from {{ cookiecutter.package_name }}.core.database import (
    get_engine,
    get_session,
    utcnow,
)

from .conftest import API, COOKIE, EMAIL, PASSWORD, post_login, read


@pytest.fixture
def statements(app: Flask, record_queries: Callable[..., Any]) -> Iterator[list[str]]:
    """The statements that are executed."""
    with record_queries(app) as executed:
        yield executed


def change_session(app: Flask, **values: object) -> None:
    with app.app_context():
        get_session().execute(update(UserSession).values(**values))
        get_session().commit()


def test_anonymous_request_costs_no_query(client: FlaskClient, statements: list[str]) -> None:
    assert client.get(API).status_code == 401
    client.set_cookie("other", "cookie")
    assert client.get(API).status_code == 401
    assert not statements


def test_known_user_costs_one_query(
    app: Flask,
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
    record_queries: Callable[..., Any],
) -> None:
    create_user(EMAIL, "a", "b")
    client = log_in()
    with record_queries(app) as executed:
        client.delete(f"{API}/unknown")
        assert not executed
        client.get(f"{API}/sessions")
    assert sum("user_account" in statement for statement in executed) == 1


@pytest.mark.usefixtures("ada", "log_in")
def test_login_sets_a_safe_cookie_once(client: FlaskClient) -> None:
    cookies = post_login(client).headers.getlist("Set-Cookie")
    (cookie,) = (cookie for cookie in cookies if cookie.startswith(COOKIE))
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/;", "Expires="):
        assert attribute in cookie
    assert "Domain" not in cookie
    assert "Set-Cookie" not in client.get(API).headers


@pytest.mark.usefixtures("ada")
def test_cookie_below_a_prefix_has_its_path(make_app: Callable[..., Flask]) -> None:
    client = make_app(URL_PREFIX="/shop").test_client()
    cookies = post_login(client).headers.getlist("Set-Cookie")
    (cookie,) = (cookie for cookie in cookies if cookie.startswith("__Secure-session"))
    assert "Path=/shop" in cookie


@pytest.mark.usefixtures("ada")
def test_token_is_stored_as_a_hash_only(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    with client.session_transaction() as session:
        token = session[sessions.TOKEN]
    with app.app_context():
        (row,) = get_session().scalars(select(UserSession))
        assert token not in str(vars(row))
        assert row.token_hash == hash_token(token)


@pytest.mark.usefixtures("ada")
def test_login_replaces_a_planted_session(
    app: Flask, create_user: Callable[..., int], log_in: Callable[..., FlaskClient]
) -> None:
    """Session fixation: an attacker gives a victim a session that the attacker knows."""
    create_user("mallory@example.com")
    attacker = log_in("mallory@example.com")
    planted = attacker.get_cookie(COOKIE)
    assert planted
    victim = app.test_client()
    victim.set_cookie(COOKIE, planted.value)
    assert post_login(victim).status_code == 200
    assert attacker.get(API).status_code == 401
    new = victim.get_cookie(COOKIE)
    assert new
    assert new.value != planted.value


@pytest.mark.usefixtures("ada")
def test_stolen_cookie_is_worthless_after_logout(
    app: Flask, log_in: Callable[..., FlaskClient]
) -> None:
    client = log_in()
    cookie = client.get_cookie(COOKIE)
    assert cookie
    thief = app.test_client()
    thief.set_cookie(COOKIE, cookie.value)
    assert thief.get(API).status_code == 200
    response = client.post(f"{API}/logout")
    assert response.status_code == 204
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert client.get_cookie(COOKIE) is None
    assert thief.get(API).status_code == 401


@pytest.mark.parametrize(
    ("column", "setting"),
    [("seen_at", "SESSION_IDLE_TIMEOUT"), ("created_at", "SESSION_TIMEOUT")],
)
@pytest.mark.usefixtures("ada")
def test_session_ends_after_its_timeouts(
    app: Flask, log_in: Callable[..., FlaskClient], column: str, setting: str
) -> None:
    client = log_in()
    timeout = app.config[setting]
    change_session(app, **{column: utcnow() - timedelta(seconds=timeout - 5)})
    assert client.get(API).status_code == 200
    change_session(app, **{column: utcnow() - timedelta(seconds=timeout + 1)})
    assert client.get(API).status_code == 401


@pytest.mark.usefixtures("ada")
def test_login_of_another_user_deletes_old_sessions(
    app: Flask,
    create_user: Callable[..., int],
    log_in: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_in()
    past = utcnow() - timedelta(seconds=app.config["SESSION_TIMEOUT"] + 1)
    change_session(app, created_at=past)
    bob = create_user("bob@example.com")
    monkeypatch.setattr(retention, "SHARE", 1)
    post_login(app.test_client(), "bob@example.com")
    with app.app_context():
        assert [*get_session().scalars(select(UserSession.user_id))] == [bob]


@pytest.mark.usefixtures("ada")
def test_requests_prolong_a_session(app: Flask, log_in: Callable[..., FlaskClient]) -> None:
    client = log_in()
    change_session(app, seen_at=utcnow() - timedelta(minutes=30))
    client.get(API)
    with app.app_context():
        seen_at = get_session().scalar(select(UserSession.seen_at))
        assert seen_at
        assert utcnow() - seen_at < timedelta(minutes=1)


@pytest.mark.usefixtures("ada")
def test_readonly_database_does_not_log_users_out(
    app: Flask, log_in: Callable[..., FlaskClient]
) -> None:
    client = log_in()
    change_session(app, seen_at=utcnow() - timedelta(minutes=30))

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            raise OperationalError(statement, {}, Exception("read-only"))

    with app.app_context():
        engine = get_engine()
    event.listen(engine, "before_cursor_execute", fail)
    assert client.get(API).status_code == 200
    event.remove(engine, "before_cursor_execute", fail)


def test_disabled_user_loses_the_session(
    app: Flask, ada: int, log_in: Callable[..., FlaskClient]
) -> None:
    client = log_in()
    with app.app_context():
        user = get_session().get(User, ada)
        assert user
        user.disabled_at = utcnow()
        get_session().commit()
    assert client.get(API).status_code == 401
    with app.app_context():
        user = get_session().get(User, ada)
        assert user
        users.set_disabled(user, disabled=False)
    assert client.get(API).status_code == 200


@pytest.mark.usefixtures("ada")
def test_sessions_are_listed_and_revoked(
    create_user: Callable[..., int], log_in: Callable[..., FlaskClient]
) -> None:
    create_user("grace@example.com")
    client = log_in(headers={"User-Agent": "first"})
    other = log_in(headers={"User-Agent": "second"})
    stranger = log_in("grace@example.com")
    rows = read(client, "/sessions")
    assert {row["user_agent"]: row["current"] for row in rows} == {"first": True, "second": False}
    (id_of_other,) = (row["id"] for row in rows if not row["current"])
    assert stranger.delete(f"{API}/sessions/{id_of_other}").status_code == 404
    assert other.get(API).status_code == 200
    assert client.delete(f"{API}/sessions/{id_of_other}").status_code == 204
    assert other.get(API).status_code == 401
    assert client.get(API).status_code == 200


@pytest.mark.usefixtures("ada")
def test_logout_everywhere_ends_all_sessions(log_in: Callable[..., FlaskClient]) -> None:
    client, other = log_in(), log_in()
    assert client.delete(f"{API}/sessions").status_code == 204
    assert client.get(API).status_code == other.get(API).status_code == 401


@pytest.mark.usefixtures("ada")
def test_sensitive_operation_needs_a_recent_password(
    app: Flask, log_in: Callable[..., FlaskClient]
) -> None:
    client = log_in()
    change_session(app, authenticated_at=utcnow() - timedelta(hours=1))
    json = {"email": "new@example.com"}
    assert client.put(f"{API}/address", json=json).status_code == 403
    wrong = client.post(f"{API}/reauthenticate", json={"password": "wrong"})
    assert wrong.status_code == 422
    assert client.put(f"{API}/address", json=json).status_code == 403
    right = client.post(f"{API}/reauthenticate", json={"password": PASSWORD})
    assert right.status_code == 204
    assert client.put(f"{API}/address", json=json).status_code == 202


@pytest.mark.usefixtures("ada")
def test_session_survives_a_key_rotation(make_app: Callable[..., Flask]) -> None:
    old, new = "an-old-key-of-32-characters-000000", "a-new-key-of-32-characters-1111111"
    client = make_app(SECRET_KEY=old).test_client()
    assert post_login(client).status_code == 200
    cookie = client.get_cookie(COOKIE)
    assert cookie
    for fallbacks, status in ((old, 200), ("", 401)):
        rotated = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=fallbacks).test_client()
        rotated.set_cookie(COOKIE, cookie.value)
        assert rotated.get(API).status_code == status


@pytest.mark.usefixtures("ada")
def test_responses_are_not_stored(log_in: Callable[..., FlaskClient]) -> None:
    assert log_in().get(API).headers["Cache-Control"] == "no-store"
