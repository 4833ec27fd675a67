"""The second factor after a password: a passkey, or a code of an authenticator app.

The codes are those of TOTP (RFC 6238). A recovery code replaces each factor once.
"""

import time
from hmac import compare_digest
from secrets import choice

import structlog
from flask import current_app, session
from pyotp import TOTP, random_base32
from sqlalchemy import delete, select, update
from werkzeug.exceptions import Unauthorized

from ...api.openapi import openapi
from ...database import get_session
from ...errors import FieldError, UnprocessableContent
from ...rate_limiting.limiter import get_limiter
from .. import audit
from ..stored_tokens import NO_USER, USER_ID, hash_token
from . import encryption, links, login, mails, passkeys
from .models import RecoveryCode, User

# Keys in Flask's session.
PENDING = "pending"
NEW_SECRET = "new_totp"  # noqa: S105 - it is the name
# Seconds for the second step of a login.
PENDING_MAX_AGE = 300

# A code is valid for 30 seconds, and for the 30 before and after them.
STEP = 30
# Attempts for each account. Six digits have a million values.
LIMIT = "20/hour"

RECOVERY_CODES = 10
# 50 bits, without characters that look alike.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
RECOVERY_LENGTH = 10


def list_of(user: User) -> list[str]:
    """Return the factors of which a login needs one after the password; none if it needs none."""
    found = ["passkey"] if passkeys.has_passkey(user.id) else []
    if user.totp_secret:
        found.append("totp")
    return [*found, "recovery_code"] if found else []


def begin_login(user: User) -> None:
    """Store in the cookie that the password was right: the second factor must follow."""
    session.clear()
    session[PENDING] = [user.id, int(time.time()), links.fingerprint(user)]


def finish_login(code: str) -> User:
    """Check a code and start a session; a passkey starts one by `passkeys.log_in`.

    Raise `Unauthorized` if the code is wrong, or if the first step was too long ago.
    """
    user = get_pending_user()
    limit_attempts(user)
    if not verify(user, code):
        get_session().commit()
        audit.record("factor_failed", subject=str(user.id))
        raise Unauthorized("The code is wrong.")
    login.complete(user)
    return user


def get_pending_user() -> User:
    """Return the user whose password was right; raise `Unauthorized` if that was too long ago."""
    if (user := find_pending_user()) is None:
        raise Unauthorized("Log in with your password first.")
    return user


def find_pending_user() -> User | None:
    """Return the user whose password was right; None if there is none."""
    user_id, started, state = session.get(PENDING, [0, 0, ""])
    user = get_session().get(User, user_id) if user_id else None
    is_late = time.time() - started > PENDING_MAX_AGE
    if user is None or is_late or user.disabled_at or state != links.fingerprint(user):
        return None
    return user


def limit_attempts(user: User) -> None:
    """Count an attempt, and respond with 429 above the limit; as `login.limit_attempts`."""
    device = login.get_known_device(user.email)
    key = f"device {device}" if device else f"user {user.id}"
    get_limiter("login-factor", LIMIT).hit(current_app.extensions["rate_limiting"], key)


def verify(user: User, code: str) -> bool:
    """Return whether a code of the app or a recovery code is right; each is valid once."""
    code = code.replace(" ", "").replace("-", "").lower()
    if user.totp_secret and code.isdecimal():
        return verify_totp(user, code)
    statement = delete(RecoveryCode).where(
        RecoveryCode.user_id == user.id, RecoveryCode.code_hash == hash_code(user.id, code)
    )
    found = bool(get_session().execute(statement).rowcount)  # type: ignore[attr-defined]
    if found:
        audit.record("recovery_code_used", subject=str(user.id))
    return found


def verify_totp(user: User, code: str) -> bool:
    """Return whether a code of the app is right, and newer than the last one."""
    try:
        # With another SECRET_KEY than the one of the last login, it is stored again.
        stored = encryption.reencrypt(user.totp_secret or "")
        secret = encryption.decrypt(stored)
    except ValueError:
        structlog.get_logger().error("secret of a second factor not decrypted", user=user.id)
        return False
    step = find_step(secret, code)
    if step is None:
        return False
    # Of two concurrent requests with one code, one changes the row.
    statement = update(User).where(User.id == user.id, User.totp_step < step)
    values = {"totp_step": step, "totp_secret": stored}
    result = get_session().execute(statement.values(values), execution_options={USER_ID: NO_USER})
    return bool(result.rowcount)  # type: ignore[attr-defined]


def reencrypt_secrets() -> tuple[int, list[int]]:
    """Encrypt the secrets of all users with SECRET_KEY.

    Return how many had another key, and the IDs of users whose key SECRET_KEY_FALLBACKS lacks.
    """
    session = get_session()
    count, lost = 0, []
    rows = session.execute(select(User.id, User.totp_secret).where(User.totp_secret.is_not(None)))
    for user_id, old in rows.all():
        try:
            new = encryption.reencrypt(old or "")
        except ValueError:
            lost.append(user_id)
            continue
        # A user who enrolls again at the same time keeps the new secret.
        found = update(User).where(User.id == user_id, User.totp_secret == old)
        if new != old:
            statement = found.values(totp_secret=new)
            session.execute(statement, execution_options={USER_ID: NO_USER})
            count += 1
    session.commit()
    return count, lost


def find_step(secret: str, code: str) -> int | None:
    """Return the time step of a code; None if it is wrong."""
    totp = TOTP(secret)
    now = int(time.time()) // STEP
    for step in (now, now - 1, now + 1):
        if compare_digest(totp.generate_otp(step).encode(), code.encode()):
            return step
    return None


def start_enrollment(user: User) -> tuple[str, str]:
    """Return a new secret and its URI for the app. It is used after `enroll`."""
    secret = random_base32()
    session[NEW_SECRET] = encryption.encrypt(secret)
    return secret, get_uri(user, secret)


def get_uri(user: User, secret: str) -> str:
    """Return the URI that an authenticator app reads from a QR code."""
    return TOTP(secret).provisioning_uri(name=user.email, issuer_name=openapi.config.title)


def get_new_secret() -> str:
    """Return the secret of `start_enrollment`; "" if there is none."""
    encrypted = session.get(NEW_SECRET)
    return encryption.decrypt(encrypted) if encrypted else ""


def enroll(user: User, code: str) -> list[str]:
    """Require codes from now on, if the app shows the right one; return new recovery codes."""
    limit_attempts(user)
    secret = get_new_secret()
    step = find_step(secret, code.replace(" ", "")) if secret else None
    if step is None:
        raise UnprocessableContent(FieldError("code", "The code is wrong"))
    session.pop(NEW_SECRET)
    user.totp_secret = encryption.encrypt(secret)
    user.totp_step = step
    codes = create_recovery_codes(user)
    audit.record("factor_added", subject=str(user.id), factor="totp")
    mails.queue_mail("factor-added", user.email)
    get_session().commit()
    return codes


def remove_totp(user: User) -> None:
    """Require no codes of an app any more."""
    if user.totp_secret:
        user.totp_secret = None
        record_removal(user, "totp")
    get_session().commit()


def remove_all(user: User) -> None:
    """Remove the app and all passkeys of a user who has lost them."""
    remove_totp(user)
    for row in passkeys.list_of(user.id):
        passkeys.remove(user, row.id)


def record_removal(user: User, factor: str) -> None:
    """Record the removal of a factor, and notify the user; after the last one no code is valid."""
    if not list_of(user):
        get_session().execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    audit.record("factor_removed", subject=str(user.id), factor=factor)
    mails.queue_mail("factor-removed", user.email)


def create_recovery_codes(user: User) -> list[str]:
    """Replace the recovery codes of a user; return the new ones, which are shown once."""
    session = get_session()
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = [create_code() for _ in range(RECOVERY_CODES)]
    session.add_all(
        RecoveryCode(user_id=user.id, code_hash=hash_code(user.id, code)) for code in codes
    )
    half = RECOVERY_LENGTH // 2
    return [f"{code[:half]}-{code[half:]}" for code in codes]


def create_code() -> str:
    """Return a random recovery code, without its hyphen."""
    return "".join(choice(ALPHABET) for _ in range(RECOVERY_LENGTH))


def hash_code(user_id: int, code: str) -> str:
    """Return the hash of a recovery code."""
    return hash_token(f"{user_id} {code}")
