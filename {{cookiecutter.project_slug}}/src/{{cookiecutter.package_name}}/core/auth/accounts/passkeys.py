"""Passkeys (WebAuthn): a login with the lock of the user's device, instead of a password.

The device verifies its user by a fingerprint, a face or a PIN. So a passkey is both factors, and a
page of another site cannot use it. After a password it is the second factor.
"""

import time
from hashlib import sha256
from typing import Any

import msgspec
from flask import request, session
from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Unauthorized

from ...api.openapi import openapi
from ...database import get_session, utcnow
from ...errors import FieldError, UnprocessableContent
from .. import audit
from . import factors, login, mails
from .models import Passkey, User

# Key in Flask's session: the challenge in Base64 and its time in milliseconds.
CHALLENGE = "challenge"
MAX_AGE_MS = 300_000
MAX_PASSKEYS = 20

# Errors for input that is no credential at all.
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def start_registration(user: User) -> dict[str, Any]:
    """Return the options for `navigator.credentials.create`."""
    # Imported on first use, here and below: it takes 0.4 s and 11 MB.
    import webauthn
    from webauthn.helpers import structs

    options = webauthn.generate_registration_options(
        rp_id=get_host(),
        rp_name=openapi.config.title,
        user_id=sha256(f"passkey {user.id}".encode()).digest(),
        user_name=user.email,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[to_descriptor(row) for row in list_of(user.id)],
    )
    return store_challenge(options)


def register(user: User, credential: dict[str, Any], name: str) -> tuple[Passkey, list[str]]:
    """Store the passkey that a browser has created; raise the error for 422 if it is not valid.

    Return it, and recovery codes if it is the first factor of the user.
    """
    import webauthn
    from webauthn.helpers import bytes_to_base64url
    from webauthn.helpers.exceptions import WebAuthnException

    challenge, _ = take_challenge()
    try:
        verified = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=get_host(),
            expected_origin=get_origin(),
            require_user_verification=True,
        )
    except (WebAuthnException, *MALFORMED):
        raise invalid_passkey() from None
    if len(list_of(user.id)) >= MAX_PASSKEYS:
        raise UnprocessableContent(FieldError("name", "There are too many passkeys: remove some"))
    is_first = not factors.list_of(user)
    credential_id = bytes_to_base64url(verified.credential_id)
    row = Passkey(
        user_id=user.id,
        name=name,
        credential_hash=sha256(verified.credential_id).hexdigest(),
        credential_id=credential_id,
        public_key=bytes_to_base64url(verified.credential_public_key),
        sign_count=verified.sign_count,
    )
    session = get_session()
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise invalid_passkey() from None
    audit.record("factor_added", subject=str(user.id), factor="passkey")
    mails.queue_mail("passkey-added", user.email)
    codes = factors.create_recovery_codes(user) if is_first else []
    session.commit()
    return row, codes


def start_login() -> dict[str, Any]:
    """Return the options for `navigator.credentials.get`: any passkey for this site."""
    import webauthn
    from webauthn.helpers import structs

    options = webauthn.generate_authentication_options(
        rp_id=get_host(), user_verification=structs.UserVerificationRequirement.REQUIRED
    )
    return store_challenge(options)


def log_in(credential: dict[str, Any]) -> User:
    """Check the response of a passkey and start a session; raise `Unauthorized` if it is wrong."""
    import webauthn
    from webauthn.helpers import base64url_to_bytes
    from webauthn.helpers.exceptions import WebAuthnException

    challenge, created_at = take_challenge()
    row = find(credential)
    if row is None:
        raise rejected()
    try:
        verified = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=get_host(),
            expected_origin=get_origin(),
            credential_public_key=base64url_to_bytes(row.public_key),
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, *MALFORMED):
        raise rejected(row.user_id) from None
    user = get_session().get(User, row.user_id)
    # A stored response fails here, since its challenge is not newer than the last one.
    statement = update(Passkey).where(Passkey.id == row.id, Passkey.challenge_at < created_at)
    values = {
        "challenge_at": created_at,
        "sign_count": verified.new_sign_count,
        "used_at": utcnow(),
    }
    is_new = get_session().execute(statement.values(values)).rowcount  # type: ignore[attr-defined]
    if user is None or user.state != "active" or not is_new:
        raise rejected(row.user_id)
    login.complete(user)
    return user


def find(credential: dict[str, Any]) -> Passkey | None:
    """Return the passkey that a response names."""
    from webauthn.helpers import base64url_to_bytes

    try:
        credential_id = base64url_to_bytes(credential["rawId"])
    except MALFORMED:
        return None
    digest = sha256(credential_id).hexdigest()
    return get_session().scalar(select(Passkey).where(Passkey.credential_hash == digest))


def list_of(user_id: int) -> list[Passkey]:
    """Return the passkeys of a user."""
    statement = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.id)
    return [*get_session().scalars(statement)]


def has_passkey(user_id: int) -> bool:
    """Return whether a user has a passkey."""
    return bool(get_session().scalar(select(exists().where(Passkey.user_id == user_id))))


def remove(user: User, passkey_id: int) -> bool:
    """Delete a passkey; return whether the user had it."""
    statement = delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user.id)
    result = get_session().execute(statement)
    found = bool(result.rowcount)  # type: ignore[attr-defined]
    if found:
        factors.record_removal(user, "passkey")
    get_session().commit()
    return found


def store_challenge(options: Any) -> dict[str, Any]:
    """Store the challenge of options in the session, and return the options as JSON has them."""
    import webauthn

    values: dict[str, Any] = msgspec.json.decode(webauthn.options_to_json(options))
    session[CHALLENGE] = [values["challenge"], time.time_ns() // 1_000_000]
    return values


def take_challenge() -> tuple[bytes, int]:
    """Return the challenge of the session and its time, once."""
    from webauthn.helpers import base64url_to_bytes

    challenge, created_at = session.pop(CHALLENGE, ["", 0])
    if not challenge or time.time_ns() // 1_000_000 - created_at > MAX_AGE_MS:
        raise Unauthorized("The request is too old. Try again.")
    return base64url_to_bytes(challenge), created_at


def get_host() -> str:
    """Return the host for which passkeys are valid; ALLOWED_HOSTS has validated it."""
    return request.host.rpartition("@")[2].partition(":")[0]


def get_origin() -> str:
    """Return the origin of the pages that use passkeys."""
    return request.host_url.rstrip("/")


def to_descriptor(row: Passkey) -> Any:
    """Return a passkey as an option."""
    from webauthn.helpers import base64url_to_bytes, structs

    return structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(row.credential_id))


def invalid_passkey() -> UnprocessableContent:
    """Return the error for a response that is not valid."""
    return UnprocessableContent(FieldError("credential", "The passkey is not valid. Try again."))


def rejected(user_id: int = 0) -> Unauthorized:
    """Record a failed login and return its error."""
    audit.record("login_failed", subject=str(user_id or ""), factor="passkey")
    return Unauthorized("The passkey is not valid.")
