"""`flask users …`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

import click
from flask.cli import AppGroup
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from ....permissions import ROLES, permissions_of
from ...database import cli_errors, get_session, utcnow
from ...errors import UnprocessableContent
from .. import (
    # {% if cookiecutter.__identity_cache %}
    identity_cache,
    # {% endif %}
    retention,
)
from . import email_addresses, factors, links, mails, passwords, tokens
from . import users as service
from .models import User, UserRole

users = AppGroup("users", help="Manage users.")

role_option = click.option("--role", "roles", multiple=True, type=click.Choice([*ROLES]))


@contextmanager
def reported() -> Iterator[None]:
    """End the command with one line for an invalid value, or if the database fails."""
    with cli_errors():
        try:
            yield
        except UnprocessableContent as error:
            raise click.ClickException(error.errors[0].message) from None
        # {% if cookiecutter.__identity_cache %}
        identity_cache.warn_if_unavailable()
        # {% endif %}


def get_user(email: str) -> User:
    """Return the user with an address, or end the command."""
    user = service.find_user(email_addresses.normalize(email))
    if user is None:
        raise click.ClickException(f"no user has the address {email}")
    return user


@users.command()
@click.argument("email")
@role_option
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create(email: str, roles: tuple[str, ...], password_stdin: bool) -> None:
    """Create a user with a confirmed address, and print a link to set the password."""
    with reported():
        email = email_addresses.normalize(email)
        if service.find_user(email):
            raise click.ClickException(
                f"{email} has an account already; `flask users grant` gives it a role"
            )
        password = sys.stdin.readline().rstrip("\r\n") if password_stdin else token_urlsafe(32)
        passwords.require_strength(password, email)
        session = get_session()
        user = User(
            email=email,
            password_hash=passwords.hash_password(password),
            confirmed_at=utcnow(),
        )
        session.add(user)
        session.flush()
        session.add_all(UserRole(user_id=user.id, role=role) for role in roles)
        session.commit()
        click.echo(f"Created {email}, ID {user.id}.")
        if not password_stdin:
            print_reset_link(user)


@users.command("list")
def list_users() -> None:
    """Print all users: ID, address, state, roles."""
    statement = select(User).order_by(User.id).options(selectinload(User.roles))
    with reported():
        for user in get_session().scalars(statement):
            roles = ",".join(sorted(row.role for row in user.roles))
            click.echo(f"{user.id}\t{user.email}\t{user.state}\t{roles}")


@users.command()
@click.argument("email")
@click.argument("role", type=click.Choice([*ROLES]))
def grant(email: str, role: str) -> None:
    """Give a user a role."""
    with reported():
        service.grant(get_user(email), role)


@users.command()
@click.argument("email")
@click.argument("role")
def revoke(email: str, role: str) -> None:
    """Take a role from a user."""
    with reported():
        service.revoke(get_user(email), role)


@users.command()
@click.argument("email")
def disable(email: str) -> None:
    """End all sessions of a user, who cannot log in any more."""
    with reported():
        service.set_disabled(get_user(email), disabled=True)


@users.command()
@click.argument("email")
def enable(email: str) -> None:
    """Let a disabled user log in again."""
    with reported():
        service.set_disabled(get_user(email), disabled=False)


@users.command("reset-password")
@click.argument("email")
def reset_password(email: str) -> None:
    """Print a link to set a new password. The old one is valid until then."""
    with reported():
        print_reset_link(get_user(email))


@users.command("remove-factor")
@click.argument("email")
def remove_factor(email: str) -> None:
    """Remove the authenticator app and the passkeys of a user who has lost them."""
    with reported():
        factors.remove_all(get_user(email))


@users.command()
def prune() -> None:
    """Delete old rows now: unconfirmed users, sessions and security events."""
    with reported():
        for model in retention.OLD_ROWS:
            count = 0
            while deleted := retention.delete_batch(model):
                count += deleted
            click.echo(f"{model.__tablename__}: {count} rows deleted")


@users.command("reencrypt")
def reencrypt() -> None:
    """Encrypt the secrets of second factors with SECRET_KEY, before its former value is removed."""
    with reported():
        count, lost = factors.reencrypt_secrets()
        click.echo(f"{count} secrets were encrypted with a former key.")
        if lost:
            ids = ", ".join(map(str, lost))
            raise click.ClickException(f"SECRET_KEY_FALLBACKS lacks the key of the users {ids}")


@users.command("create-token")
@click.argument("email")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="A permission; without this option all that the user has.",
)
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 365))
def create_token(email: str, scopes: tuple[str, ...], days: int) -> None:
    """Print a new API token of a user. It is stored nowhere."""
    with reported():
        user = get_user(email)
        roles = get_session().scalars(select(UserRole.role).where(UserRole.user_id == user.id))
        permissions = permissions_of([*roles])
        name = "flask users create-token"
        click.echo(tokens.create(user.id, name, [*(scopes or permissions)], days)[1])


def print_reset_link(user: User) -> None:
    """Print a link, which is valid for an hour."""
    token = links.create_token("reset-password", user)
    click.echo(mails.make_link("reset-password", links.base_url(), token))
