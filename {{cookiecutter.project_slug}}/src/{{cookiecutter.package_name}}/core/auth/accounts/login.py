"""Login with address and password, and its limits."""

from hashlib import sha256
from secrets import token_hex

from flask import Response, after_this_request, current_app, request
from itsdangerous import BadData
from werkzeug.exceptions import Forbidden, Unauthorized

from ....config import get_settings
from ...database import get_session
from ...rate_limiting.limiter import get_limiter
from .. import audit
from ..audit_table import UNKNOWN
from ..sessions import cookie_options
from ..signing import get_serializer
from . import email_addresses, factors, passwords, sessions, users
from .models import User

DEVICE_COOKIE = "known-device"
DEVICE_MAX_AGE = 365 * 24 * 3600

WRONG = "The address or the password is wrong."


def log_in(email: str, password: str) -> tuple[User, list[str]]:
    """Check address and password, and start a session unless the user has a second factor.

    Return the user and the second factors of which one must follow.

    Raise `Unauthorized` in the same time for an unknown address, a wrong password and a disabled
    user, and `Forbidden` if the address is not confirmed yet.
    """
    email = email_addresses.normalize(email)
    limit_attempts(email)
    user = users.find_user(email)
    is_right = passwords.verify_password(password, user.password_hash if user else None)
    if user is None or not is_right or user.disabled_at:
        # Both cases write a row, so that they take the same time.
        audit.record("login_failed", subject=str(user.id) if user else UNKNOWN)
        raise Unauthorized(WRONG)
    if user.confirmed_at is None:
        raise Forbidden("Confirm your address first: we have sent you a mail with a link.")
    if passwords.needs_rehash(user.password_hash or ""):
        user.password_hash = passwords.hash_password(password)
    if required := factors.list_of(user):
        get_session().commit()
        factors.begin_login(user)
    else:
        complete(user)
    return user, required


def complete(user: User) -> None:
    """Start the session of a user who has entered a valid credential."""
    sessions.start(user)
    audit.record("login_succeeded", subject=str(user.id))
    get_session().commit()
    set_device_cookie(user)


def reauthenticate(user: User, password: str) -> None:
    """Note that the user has entered the password again; raise the error for 422 if it is wrong."""
    limit_attempts(user.email)
    users.require_password(user, password)
    sessions.renew()
    get_session().commit()


def change_password(user: User, current_password: str, password: str) -> None:
    """Change the password. A stolen session does not help to guess the current one."""
    limit_attempts(user.email)
    users.change_password(user, current_password, password)


def limit_attempts(email: str) -> None:
    """Count an attempt for an account, and respond with 429 above the limit.

    A browser that has logged in to the account before has a counter of its own. So
    guesses from elsewhere do not lock the user out.
    """
    device = get_known_device(email)
    key = f"device {device}" if device else f"account {hash_address(email)}"
    limiter = get_limiter("login-account", get_settings().RATE_LIMIT_LOGIN_ACCOUNT)
    limiter.hit(current_app.extensions["rate_limiting"], key)


def set_device_cookie(user: User) -> None:
    """Set the cookie of a browser that has logged in to an account. It grants nothing else."""
    value = get_serializer(DEVICE_COOKIE).dumps([hash_address(user.email), token_hex(8)])

    @after_this_request
    def set_cookie(response: Response) -> Response:
        response.set_cookie(DEVICE_COOKIE, value, max_age=DEVICE_MAX_AGE, **cookie_options())
        return response


def get_known_device(email: str) -> str:
    """Return the ID of a browser that has logged in to the account before; "" if it has not."""
    try:
        value = request.cookies.get(DEVICE_COOKIE, "")
        account, device = get_serializer(DEVICE_COOKIE).loads(value, max_age=DEVICE_MAX_AGE)
    except BadData:
        return ""
    return str(device) if account == hash_address(email) else ""


def hash_address(email: str) -> str:
    """Return a short name of an account."""
    return sha256(email.encode()).hexdigest()[:32]
