from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from {{ cookiecutter.package_name }}.core.auth import retention
from {{ cookiecutter.package_name }}.core.auth.oidc.users import (
    User,
    UserSession,
    provision,
)
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow


def read_user(browser: Any) -> User:
    with browser.app.app_context():
        return get_session().scalars(select(User)).one()


def count(browser: Any, model: Any) -> int:
    with browser.app.app_context():
        return get_session().scalar(select(func.count()).select_from(model)) or 0


def run(browser: Any, *arguments: str) -> Any:
    return browser.app.test_cli_runner().invoke(args=["users", *arguments])


def test_first_login_adds_user(browser: Any) -> None:
    browser.log_in(email="ada@example.com", roles=["b", "a"])
    user = read_user(browser)
    assert (user.provider, user.subject, user.name) == ("main", "ada", "Ada")
    assert (user.email, user.roles) == ("ada@example.com", ["a", "b"])
    assert browser.whoami()[0] == str(user.id)


def test_next_login_updates_user(browser: Any) -> None:
    browser.log_in(roles=["a"])
    browser.log_in(name="Ada Lovelace", roles=[])
    user = read_user(browser)
    assert (user.name, user.roles) == ("Ada Lovelace", [])


def test_subjects_are_case_sensitive(browser: Any) -> None:
    browser.log_in(sub="ada")
    browser.log_in(sub="ADA")
    browser.log_in(sub="ada ")
    assert count(browser, User) == 3


def test_subject_that_is_too_long_is_rejected(browser: Any) -> None:
    assert "(subject_too_long)" in browser.log_in(sub="a" * 256).get_json()["detail"]
    assert count(browser, User) == 0


def test_concurrent_first_logins_add_one_user(
    browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in()
    scalar = Session.scalar
    results: list[Any] = [None]
    monkeypatch.setattr(
        Session,
        "scalar",
        lambda *arguments: results.pop() if results else scalar(*arguments),
    )
    with browser.app.app_context():
        provider = browser.app.extensions["auth"].providers["main"]
        # The lookup found nothing, and then another request added the user.
        user = provision(provider, {"sub": "ada"}, "Ada")
        assert user.id == get_session().scalars(select(User)).one().id


def test_request_with_session_costs_one_query(
    browser: Any, record_queries: Callable[..., Any]
) -> None:
    browser.log_in()
    with record_queries(browser.app) as statements:
        assert browser.whoami()
    assert len(statements) == 1
    browser.client.delete_cookie("__Host-session")
    with record_queries(browser.app) as statements:
        assert browser.whoami() == []
    assert statements == []


@pytest.mark.parametrize(
    ("column", "seconds"), [("seen_at", 1000), ("created_at", 3000), ("seen_at", None)]
)
def test_session_ends_in_table(
    make_browser: Callable[..., Any], column: str, seconds: int | None
) -> None:
    browser = make_browser(SESSION_IDLE_TIMEOUT="900", SESSION_TIMEOUT="2900")
    browser.log_in()
    with browser.app.app_context():
        past = utcnow() - timedelta(seconds=seconds or 800)
        get_session().execute(update(UserSession).values({column: past}))
        get_session().commit()
    assert bool(browser.whoami()) == (seconds is None)
    if seconds is None:
        with browser.app.app_context():
            # The request has renewed it.
            row = get_session().scalars(select(UserSession)).one()
            assert utcnow() - row.seen_at < timedelta(seconds=30)
    browser.client.delete_cookie("__Host-session")
    browser.log_in()
    assert count(browser, UserSession) == (2 if seconds is None else 1)


def test_login_of_another_user_deletes_old_sessions(
    browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in(sub="ada")
    with browser.app.app_context():
        past = utcnow() - timedelta(seconds=browser.app.config["SESSION_TIMEOUT"] + 1)
        get_session().execute(update(UserSession).values(created_at=past))
        get_session().commit()
    monkeypatch.setattr(retention, "SHARE", 1)
    browser.client.delete_cookie("__Host-session")
    browser.log_in(sub="bob")
    assert browser.whoami()
    assert count(browser, UserSession) == 1


def test_disabled_user_is_logged_out(browser: Any) -> None:
    browser.log_in()
    user_id = browser.whoami()[0]
    assert run(browser, "disable", user_id).exit_code == 0
    assert browser.whoami() == []
    assert "(user_disabled)" in browser.log_in().get_json()["detail"]
    assert "\tdisabled\n" in run(browser, "list").output
    assert run(browser, "enable", user_id).exit_code == 0
    assert browser.log_in().status_code == 302
    assert browser.whoami()[0] == user_id


def test_users_are_listed(browser: Any) -> None:
    browser.log_in(email="ada@example.com", roles=["a", "b"])
    assert "\tmain\tAda\tada@example.com\ta,b\t" in run(browser, "list").output


def test_unknown_user_is_reported(browser: Any) -> None:
    for command in ("disable", "enable"):
        result = run(browser, command, "999")
        assert result.exit_code == 1
        assert "there is no user 999" in result.output


def test_token_is_stored_as_hash(browser: Any) -> None:
    browser.log_in()
    with browser.app.app_context():
        row = get_session().scalars(select(UserSession)).one()
    assert len(row.token_hash) == 64
    with browser.client.session_transaction(base_url="https://localhost") as session:
        assert session["token"] != row.token_hash
