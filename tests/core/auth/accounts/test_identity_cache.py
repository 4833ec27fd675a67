import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from {{ cookiecutter.package_name }}.core.access import requires
from {{ cookiecutter.package_name }}.core.auth import get_identity, stored_tokens
from {{ cookiecutter.package_name }}.core.auth.accounts import sessions
from {{ cookiecutter.package_name }}.core.auth.accounts.models import (
    User,
    UserRole,
    UserSession,
)
from {{ cookiecutter.package_name }}.core.database import (
    get_engine,
    get_session,
    utcnow,
)
from {{ cookiecutter.package_name }}.permissions import ROLES

from .conftest import API, COOKIE, EMAIL, PASSWORD, post_login

ROLE = "tester"
LIMITS = ("RATE_LIMIT_LOGIN", "RATE_LIMIT_WRITES")


class Site:
    """Two processes of one site, which share the database and the cache."""

    def __init__(self, make_app: Callable[..., Flask], **variables: str) -> None:
        limits = dict.fromkeys(LIMITS, "1000/second")
        self.web, self.other = (make_app(**variables, **limits) for _ in range(2))
        for app in (self.web, self.other):
            app.add_url_rule("/whoami", "whoami", requires()(whoami))

    def log_in(self) -> FlaskClient:
        """Return a client with a session in the cache."""
        client = self.web.test_client()
        assert post_login(client).status_code == 200
        assert client.get("/whoami").status_code == 200
        return client

    def copy(self, client: FlaskClient) -> FlaskClient:
        """Return a client of the other process with the same session."""
        copy = self.other.test_client()
        cookie = client.get_cookie(COOKIE)
        assert cookie
        copy.set_cookie(COOKIE, cookie.value)
        return copy

    def run(self, *arguments: str) -> Any:
        """Run a command in the other process."""
        return self.other.test_cli_runner().invoke(args=["users", *arguments])


def whoami() -> dict[str, Any]:
    identity = get_identity()
    assert identity
    return {"name": identity.name, "permissions": sorted(identity.permissions)}


@pytest.fixture
def site(
    make_app: Callable[..., Flask], ada: int, shared_cache: str, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """A site with one user."""
    monkeypatch.setitem(ROLES, ROLE, frozenset({"tests:run"}))
    return Site(make_app, CACHE_URL=shared_cache)


def test_request_with_a_cached_session_costs_no_query(
    site: Site, record_queries: Callable[..., Any]
) -> None:
    client = site.log_in()
    copy = site.copy(client)
    for app, user in ((site.web, client), (site.other, copy)):
        with record_queries(app) as statements:
            assert user.get("/whoami").json == {"name": EMAIL, "permissions": []}
        assert statements == []


def test_request_with_a_cached_token_costs_no_query(
    site: Site, record_queries: Callable[..., Any]
) -> None:
    client = site.log_in()
    created: Any = client.post(f"{API}/tokens", json={"name": "script"}).json
    script = site.web.test_client()
    headers = {"Authorization": f"Bearer {created['token']}"}
    assert script.get("/whoami", headers=headers).status_code == 200
    with record_queries(site.web) as statements:
        assert script.get("/whoami", headers=headers).status_code == 200
    assert statements == []
    assert client.delete(f"{API}/tokens/{created['id']}").status_code == 204
    assert script.get("/whoami", headers=headers).status_code == 401


def log_out_everywhere(site: Site, client: FlaskClient) -> None:
    other = site.other.test_client()
    post_login(other)
    assert other.delete(f"{API}/sessions").status_code == 204


def revoke_session(site: Site, client: FlaskClient) -> None:
    other = site.other.test_client()
    post_login(other)
    rows: Any = other.get(f"{API}/sessions").json
    for row in rows:
        if not row["current"]:
            assert other.delete(f"{API}/sessions/{row['id']}").status_code == 204


def log_out_of_the_same_session(site: Site, client: FlaskClient) -> None:
    copy = site.copy(client)
    assert copy.post(f"{API}/logout").status_code == 204


def confirm_password_in_a_copy(site: Site, client: FlaskClient) -> None:
    copy = site.copy(client)
    json = {"password": PASSWORD}
    assert copy.post(f"{API}/reauthenticate", json=json).status_code == 204


def change_password(site: Site, client: FlaskClient) -> None:
    other = site.other.test_client()
    post_login(other)
    json = {"current_password": PASSWORD, "password": "seven lanterns in a cave"}
    assert other.put(f"{API}/password", json=json).status_code == 204


def disable(site: Site, client: FlaskClient) -> None:
    assert site.run("disable", EMAIL).exit_code == 0


def disable_in_own_code(site: Site, client: FlaskClient) -> None:
    with site.other.app_context():
        user = get_session().scalars(select(User)).one()
        user.disabled_at = utcnow()
        get_session().commit()


def disable_many_in_own_code(site: Site, client: FlaskClient) -> None:
    with site.other.app_context():
        get_session().execute(update(User).values(disabled_at=utcnow()))
        get_session().commit()


def delete_user(site: Site, client: FlaskClient) -> None:
    with site.other.app_context():
        get_session().delete(get_session().scalars(select(User)).one())
        get_session().commit()


@pytest.mark.parametrize(
    "revoke",
    [
        log_out_everywhere,
        revoke_session,
        log_out_of_the_same_session,
        confirm_password_in_a_copy,
        change_password,
        disable,
        disable_in_own_code,
        disable_many_in_own_code,
        delete_user,
    ],
)
def test_cached_session_ends_immediately(
    site: Site, revoke: Callable[[Site, FlaskClient], None]
) -> None:
    client = site.log_in()
    revoke(site, client)
    assert client.get("/whoami").status_code == 401


def test_cached_roles_change_immediately(site: Site) -> None:
    client = site.log_in()

    def permissions() -> Any:
        body: Any = client.get("/whoami").json
        return body["permissions"]

    for change in ("grant", "revoke"):
        # The command accepts the roles of the import of its module.
        with site.other.app_context():
            user = get_session().scalars(select(User)).one()
            if change == "grant":
                get_session().add(UserRole(user_id=user.id, role=ROLE))
                get_session().commit()
            else:
                assert site.run("revoke", EMAIL, ROLE).exit_code == 0
        assert permissions() == (["tests:run"] if change == "grant" else [])


def test_uncommitted_change_has_no_effect(site: Site, record_queries: Callable[..., Any]) -> None:
    client = site.log_in()
    with site.other.app_context():
        get_session().execute(update(User).values(disabled_at=utcnow()))
        get_session().rollback()
    with record_queries(site.web) as statements:
        assert client.get("/whoami").status_code == 200
    assert statements == []


def test_session_that_ends_while_it_is_read_is_not_cached(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request has read the row; then the session is revoked; then the request stores the row."""
    client = site.web.test_client()
    post_login(client)
    read = sessions.read

    def read_slowly(token: str) -> Any:
        found = read(token)
        monkeypatch.setattr(sessions, "read", read)
        disable(site, client)
        return found

    monkeypatch.setattr(sessions, "read", read_slowly)
    # This request began before the user was disabled.
    assert client.get("/whoami").status_code == 200
    assert client.get("/whoami").status_code == 401


def test_lost_invalidation_ends_with_the_ttl(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has changed the table."""
    client = site.log_in()
    with site.other.app_context(), get_engine().begin() as connection:
        connection.execute(text("DELETE FROM user_session"))
    assert client.get("/whoami").status_code == 200
    now = time.time()
    ttl = site.web.extensions["settings"].SESSION_CACHE_TTL
    monkeypatch.setattr(time, "time", lambda: now + ttl)
    assert client.get("/whoami").status_code == 401


def test_cached_session_reaches_its_timeout(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.log_in()
    timeout = site.web.extensions["settings"].SESSION_TIMEOUT
    monkeypatch.setattr(stored_tokens, "utcnow", lambda: utcnow() + timedelta(seconds=timeout + 1))
    assert client.get("/whoami").status_code == 401


def test_time_of_the_last_request_is_stored(site: Site, record_queries: Callable[..., Any]) -> None:
    client = site.log_in()
    with site.other.app_context():
        get_session().execute(update(UserSession).values(seen_at=utcnow() - timedelta(minutes=9)))
        get_session().commit()
    for _ in range(2):
        assert client.get("/whoami").status_code == 200
    with record_queries(site.web) as statements, site.other.app_context():
        assert client.get("/whoami").status_code == 200
        seen_at = get_session().scalar(select(UserSession.seen_at))
        assert seen_at
        assert utcnow() - seen_at < timedelta(minutes=1)
    assert not any("UPDATE" in statement for statement in statements)


# {% if cookiecutter.__cache_server %}
def test_unavailable_cache_costs_a_query(
    site: Site, cache_server: Any, record_queries: Callable[..., Any]
) -> None:
    client = site.log_in()
    cache_server.stop()
    with record_queries(site.web) as statements:
        assert client.get("/whoami").status_code == 200
    assert len(statements) == 1
    result = site.run("disable", EMAIL)
    assert "The cache is unavailable: cached sessions end within 30 s." in result.output
    assert client.get("/whoami").status_code == 401
    cache_server.start()
    assert client.get("/whoami").status_code == 401


def test_change_during_an_outage_reaches_the_cache_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that has changed something could not connect for a moment."""
    client = site.log_in()
    backend = site.other.extensions["cache"].backend
    delete = backend.delete

    def fail(_: object) -> None:
        raise backend.errors[0]

    monkeypatch.setattr(backend, "delete", fail)
    disable_in_own_code(site, client)
    assert client.get("/whoami").status_code == 200
    monkeypatch.setattr(backend, "delete", delete)
    site.other.test_client().get(API, headers={"Authorization": "Bearer pat_1_unknown"})
    assert client.get("/whoami").status_code == 401


# {% endif %}
@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("variables", [{"SESSION_CACHE_TTL": "0"}, {"CACHE_URL": "memory://"}])
def test_cache_is_not_used(
    make_app: Callable[..., Flask],
    shared_cache: str,
    variables: dict[str, str],
    record_queries: Callable[..., Any],
) -> None:
    """Another process does not reach the memory of this one."""
    site = Site(make_app, **({"CACHE_URL": shared_cache} | variables))
    client = site.log_in()
    with record_queries(site.web) as statements:
        assert client.get("/whoami").status_code == 200
    assert len(statements) == 1
    disable(site, client)
    assert client.get("/whoami").status_code == 401
