"""What happens to users: registration, confirmation, passwords, addresses, roles."""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Forbidden, NotFound

from ....config import get_settings
from ...database import get_session, utcnow
from ...errors import FieldError, UnprocessableContent
from .. import audit
from ..identity import get_identity
from ..stored_tokens import USER_ID
from . import email_addresses, links, mails, passwords, sessions
from .models import User, UserRole


def find_user(email: str) -> User | None:
    """Return the user with a normalized address."""
    return get_session().scalar(select(User).where(User.email == email))


def get_current_user() -> User:
    """Return the user of the request's identity."""
    identity = get_identity()
    user = get_session().get(User, int(identity.id)) if identity else None
    if user is None:
        raise NotFound("There is no such account.")
    return user


def register(email: str, password: str) -> None:
    """Create a user and send a mail. The response is the same whether the address was free or not.

    Another registration of an address that is not confirmed replaces the password, and earlier
    links are not valid any more: so a stranger cannot keep an address from its owner.
    """
    if not get_settings().REGISTRATION:
        raise Forbidden("Registration is closed.")
    email = email_addresses.normalize(email)
    passwords.require_strength(password, email)
    password_hash = passwords.hash_password(password)
    session = get_session()
    user = find_user(email)
    if user is None:
        user = User(email=email, password_hash=password_hash)
        session.add(user)
        try:
            session.flush()
            audit.record("user_registered", subject=str(user.id))
        except IntegrityError:
            # Another request has registered the address at the same time. It sends the mail.
            session.rollback()
            return
    else:
        audit.record("registration_repeated", subject=str(user.id))
        if user.confirmed_at is None:
            user.password_hash = password_hash
    # Each case has one write and one event, so that all take the same time.
    user.updated_at = utcnow()
    mails.queue_mail("registration", email)
    session.commit()


def confirm(token: str, password: str) -> User:
    """Confirm the address of a user by the token of a mail and the password of the registration.

    Without the password, people could confirm an account that a stranger has registered with their
    address, and that the stranger could log in to.
    """
    user, _ = links.verify_token("confirm", token)
    require_password(user, password)
    if user.confirmed_at is None:
        user.confirmed_at = utcnow()
        audit.record("address_confirmed", subject=str(user.id))
    get_session().commit()
    return user


def request_password_reset(email: str) -> None:
    """Send a mail with a link, if the address has an account."""
    email = email_addresses.normalize(email)
    audit.record("password_reset_requested")
    mails.queue_mail("reset-password", email)


def reset_password(token: str, password: str) -> User:
    """Set the password by the token of a mail, and log the user out everywhere."""
    user, _ = links.verify_token("reset-password", token)
    # The link confirms the address, too.
    user.confirmed_at = user.confirmed_at or utcnow()
    set_password(user, password)
    get_session().commit()
    return user


def change_password(user: User, current_password: str, password: str) -> None:
    """Change the password, and log the user out in all other browsers."""
    require_password(user, current_password, "current_password")
    set_password(user, password, except_session=sessions.get_current().id)
    sessions.renew()
    get_session().commit()


def set_password(user: User, password: str, *, except_session: int = 0) -> None:
    """Set the password of a user, revoke their sessions, and notify them."""
    passwords.require_strength(password, user.email)
    user.password_hash = passwords.hash_password(password)
    count = sessions.revoke_all(user.id, except_session)
    sessions.record_revoked(count, user.id)
    audit.record("password_changed", subject=str(user.id))
    mails.queue_mail("password-changed", user.email)


def require_password(user: User, password: str, field: str = "password") -> None:
    """Raise the error for 422 if it is not the user's password."""
    if not passwords.verify_password(password, user.password_hash):
        raise UnprocessableContent(FieldError(field, "The password is wrong"))


def request_address_change(user: User, email: str) -> None:
    """Send a mail with a link to the new address. Whether it has an account shows the link only."""
    email = email_addresses.normalize(email)
    mails.queue_mail("change-address", email, user_id=user.id)
    # The mail waits for the commit of the transaction that has read the user.
    get_session().commit()


def change_address(current: User, token: str) -> None:
    """Change the address of the current user by the token of a mail, and notify the old address.

    A link of another user is not valid: the owner of the new address might open it.
    """
    user, email = links.verify_token("change-address", token)
    if user.id != current.id:
        raise links.invalid_token()
    session = get_session()
    old = user.email
    # While the row has the old address: the mail is sent after the commit.
    mails.queue_mail("address-changed", old, user_id=user.id)
    user.email = email
    audit.record("address_changed", subject=str(user.id))
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        raise links.invalid_token() from None


def set_disabled(user: User, *, disabled: bool) -> None:
    """Disable a user, which ends their sessions, or enable them again."""
    user.disabled_at = utcnow() if disabled else None
    if disabled:
        sessions.revoke_all(user.id)
        audit.record("user_disabled", subject=str(user.id))
    get_session().commit()


def old_unconfirmed() -> ColumnElement[bool]:
    """Return the condition for users who have not confirmed their address in time.

    Another registration of the address begins the time again.
    """
    before = utcnow() - timedelta(days=get_settings().UNCONFIRMED_RETENTION_DAYS)
    return and_(User.confirmed_at.is_(None), User.updated_at < before)


def grant(user: User, role: str) -> None:
    """Give a user a role."""
    session = get_session()
    if session.get(UserRole, (user.id, role)) is None:
        session.add(UserRole(user_id=user.id, role=role))
        audit.record("role_granted", subject=str(user.id), role=role)
    session.commit()


def revoke(user: User, role: str) -> None:
    """Take a role from a user."""
    statement = delete(UserRole).where(UserRole.user_id == user.id, UserRole.role == role)
    result = get_session().execute(statement, execution_options={USER_ID: user.id})
    if result.rowcount:  # type: ignore[attr-defined]
        audit.record("role_revoked", subject=str(user.id), role=role)
    get_session().commit()
