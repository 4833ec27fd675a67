"""Users, who are added on their first login, and `flask users`."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ...database import Base, cli_errors, get_session, utcnow
from .. import (
    audit,
    # {% if cookiecutter.__identity_cache %}
    identity_cache,
    # {% endif %}
)
from ..stored_tokens import USER_ID
from .providers import LoginError, Provider

users = AppGroup("users", help="List and disable users.")


class User(Base):
    """A user of a provider. Name, address and roles are those of the last login."""

    __tablename__ = "user_account"

    id: Mapped[int] = mapped_column(primary_key=True)
    # SHA-256 of issuer and subject: databases differ in what texts they consider equal.
    key: Mapped[str] = mapped_column(String(64), unique=True)
    provider: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(254))
    roles: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_login_at: Mapped[datetime] = mapped_column(default=utcnow)
    disabled_at: Mapped[datetime | None] = mapped_column()

    # IDs are never reused: records of security events refer to them.
    __table_args__ = ({"sqlite_autoincrement": True},)


class UserSession(Base):
    """A login in one browser. The cookie has a token, and the table its hash."""

    __tablename__ = "user_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("user_account.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    seen_at: Mapped[datetime] = mapped_column(default=utcnow)
    # When the user entered a credential at the provider, in seconds; 0 if it does not say that.
    authenticated_at: Mapped[int] = mapped_column(BigInteger)
    # The provider wants it back at logout.
    id_token: Mapped[str] = mapped_column(Text)


def provision(provider: Provider, claims: Mapping[str, Any], name: str) -> User:
    """Add the user of a first login, or update the user of another one, and return them.

    Raise `LoginError` if the user is disabled. The caller commits.
    """
    subject = str(claims["sub"])
    if len(subject) > User.subject.type.length:
        raise LoginError("subject_too_long")
    key = sha256(f"{provider.issuer} {subject}".encode()).hexdigest()
    session = get_session()
    statement = select(User).where(User.key == key)
    user = session.scalar(statement)
    if user is None:
        user = User(key=key, provider=provider.name, subject=subject, name="", email="", roles=[])
        try:
            with session.begin_nested():
                session.add(user)
        except IntegrityError:
            # Another request has added the user.
            user = session.scalars(statement.with_for_update()).one()
        else:
            audit.record("user_registered", subject=str(user.id), provider=provider.name)
    if user.disabled_at:
        raise LoginError("user_disabled")
    user.name = name
    user.email = str(claims.get("email", ""))[:254]
    user.roles = provider.get_roles(claims)
    user.last_login_at = utcnow()
    return user


@users.command("list")
def list_users() -> None:
    """Print all users: ID, provider, name, address, roles, last login."""
    with cli_errors():
        for user in get_session().scalars(select(User).order_by(User.id)):
            state = "disabled" if user.disabled_at else f"{user.last_login_at:%Y-%m-%dT%H:%M:%SZ}"
            roles = ",".join(user.roles)
            click.echo(f"{user.id}\t{user.provider}\t{user.name}\t{user.email}\t{roles}\t{state}")


@users.command("disable")
@click.argument("user_id", type=int)
def disable_user(user_id: int) -> None:
    """End all sessions of a user, who cannot log in any more."""
    with cli_errors():
        set_disabled_at(user_id, utcnow())
        statement = delete(UserSession).where(UserSession.user_id == user_id)
        get_session().execute(statement, execution_options={USER_ID: user_id})
        get_session().commit()
        # {% if cookiecutter.__identity_cache %}
        identity_cache.warn_if_unavailable()
        # {% endif %}
    audit.record("user_disabled", subject=str(user_id))


@users.command("enable")
@click.argument("user_id", type=int)
def enable_user(user_id: int) -> None:
    """Let a disabled user log in again."""
    with cli_errors():
        set_disabled_at(user_id, None)
        get_session().commit()


def set_disabled_at(user_id: int, time: datetime | None) -> None:
    """Set the time at which a user was disabled."""
    user = get_session().get(User, user_id)
    if user is None:
        raise click.ClickException(f"there is no user {user_id}")
    user.disabled_at = time
