from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.core.auth import retention
from {{ cookiecutter.package_name }}.core.database import utcnow
from {{ cookiecutter.package_name }}.permissions import ROLES

from .conftest import API, EMAIL, PASSWORD, Mailbox, post_login, read


def run(app: Flask, *arguments: str, stdin: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["users", *arguments], input=stdin)


def test_created_user_logs_in(app: Flask, client: FlaskClient) -> None:
    result = run(app, "create", "Ada@example.com", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert result.exit_code == 0
    assert post_login(client).status_code == 200


def test_created_user_sets_the_password_by_a_link(app: Flask, client: FlaskClient) -> None:
    output = run(app, "create", EMAIL).output
    token = output.strip().rpartition("token=")[2]
    json = {"token": token, "password": PASSWORD}
    assert client.post(f"{API}/reset-password", json=json).status_code == 204
    assert post_login(client).status_code == 200


def test_list_has_state_and_roles(app: Flask, ada: int) -> None:
    assert run(app, "list").output == f"{ada}\t{EMAIL}\tactive\t\n"
    run(app, "disable", EMAIL)
    assert run(app, "list").output == f"{ada}\t{EMAIL}\tdisabled\t\n"
    run(app, "enable", EMAIL)
    assert "active" in run(app, "list").output


@pytest.mark.skipif(not ROLES, reason="the project has no roles")
@pytest.mark.usefixtures("ada")
def test_grant_and_revoke(app: Flask, client: FlaskClient) -> None:
    role = next(iter(ROLES))
    post_login(client)
    for _ in range(2):
        assert run(app, "grant", EMAIL, role).exit_code == 0
    assert read(client)["roles"] == [role]
    assert set(read(client)["permissions"]) == ROLES[role]
    for _ in range(2):
        assert run(app, "revoke", EMAIL, role).exit_code == 0
    assert read(client)["permissions"] == []


@pytest.mark.usefixtures("ada")
def test_disable_ends_sessions(app: Flask, client: FlaskClient) -> None:
    post_login(client)
    run(app, "disable", EMAIL)
    run(app, "enable", EMAIL)
    assert client.get(API).status_code == 401


@pytest.mark.usefixtures("ada")
def test_reset_password_prints_a_link(app: Flask, mailbox: Mailbox) -> None:
    assert "/reset-password?token=" in run(app, "reset-password", EMAIL).output
    assert not mailbox


@pytest.mark.parametrize("trigger", ["command", "event"])
@pytest.mark.usefixtures("ada")
def test_unconfirmed_users_are_deleted(
    app: Flask,
    create_user: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    trigger: str,
) -> None:
    for name, days in (("old", 8), ("new", 6)):
        updated_at = utcnow() - timedelta(days=days)
        create_user(f"{name}@example.com", confirmed_at=None, updated_at=updated_at)
    if trigger == "event":
        monkeypatch.setattr(retention, "SHARE", 1)
        run(app, "disable", EMAIL)
        run(app, "enable", EMAIL)
    else:
        assert "user_account: 1 rows deleted\n" in run(app, "prune").output
    lines = run(app, "list").output.splitlines()
    assert [line.split("\t")[1] for line in lines] == [EMAIL, "new@example.com"]


@pytest.mark.usefixtures("ada")
def test_events_have_the_operator(app: Flask) -> None:
    run(app, "disable", EMAIL)
    output = app.test_cli_runner().invoke(args=["audit", "list"]).output
    event = output.split("\t")
    assert event[1] == "user_disabled"
    assert event[2].startswith("cli:")


@pytest.mark.skipif(not ROLES, reason="the project has no roles")
def test_token_has_the_permissions_of_the_user(
    app: Flask, client: FlaskClient, create_user: Callable[..., int]
) -> None:
    role = next(iter(ROLES))
    create_user(EMAIL, role)
    token = run(app, "create-token", EMAIL, "--days", "2").output.split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    assert set(client.get(API, headers=headers).json["permissions"]) == ROLES[role]  # type: ignore[index]
    post_login(client)
    (row,) = read(client, "/tokens")
    assert set(row["scopes"]) == ROLES[role]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", EMAIL], "has an account already"),
        (["create", "no address"], "Enter an e-mail address"),
        (["disable", "nobody@example.com"], "no user has the address"),
        (["grant", EMAIL, "no-role"], "no-role"),
        (["create-token", "nobody@example.com"], "no user has the address"),
        (["create-token", EMAIL, "--scope", "all"], "There is no permission all"),
    ],
)
@pytest.mark.usefixtures("ada")
def test_invalid_arguments_are_reported_in_one_line(
    app: Flask, arguments: list[str], message: str
) -> None:
    result = run(app, *arguments)
    assert result.exit_code
    assert message in result.output
    assert "Traceback" not in result.output


def test_weak_password_is_rejected(app: Flask) -> None:
    result = run(app, "create", EMAIL, "--password-stdin", stdin="short\n")
    assert result.exit_code
    assert "at least 12 characters" in result.output
