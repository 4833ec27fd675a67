"""Bodies of requests and responses."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from .email_addresses import MAX_LENGTH as MAX_EMAIL_LENGTH
from .passwords import MAX_LENGTH as MAX_PASSWORD_LENGTH

# Longer texts are rejected before anything is computed.
Email = Annotated[str, Meta(min_length=3, max_length=MAX_EMAIL_LENGTH)]
Password = Annotated[str, Meta(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
Token = Annotated[str, Meta(min_length=1, max_length=1000)]
# Not every database stores control characters.
Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+\Z")]


class Credentials(Struct, forbid_unknown_fields=True):
    """Address and password."""

    email: Email
    password: Password


class EmailIn(Struct, forbid_unknown_fields=True):
    """An address."""

    email: Email


class TokenIn(Struct, forbid_unknown_fields=True):
    """The token of a link in a mail."""

    token: Token


class Confirmation(Struct, forbid_unknown_fields=True):
    """The token of a link in a mail, and the password of the registration."""

    token: Token
    password: Password


class PasswordReset(Struct, forbid_unknown_fields=True):
    """The token of a link in a mail, and a new password."""

    token: Token
    password: Password


class PasswordChange(Struct, forbid_unknown_fields=True):
    """The current password and a new one."""

    current_password: Password
    password: Password


class PasswordIn(Struct, forbid_unknown_fields=True):
    """The current password."""

    password: Password


class Message(Struct):
    """A text for people."""

    message: str


class Account(Struct):
    """The user of the request, with roles and permissions."""

    id: int
    email: str
    roles: list[str]
    permissions: list[str]


class SessionOut(Struct):
    """A login in one browser."""

    id: int
    created_at: datetime
    seen_at: datetime
    address: str
    user_agent: str
    current: bool


class TokenRequest(Struct, forbid_unknown_fields=True):
    """A new API token: its name, its permissions, and the days for which it is valid."""

    name: Name
    scopes: Annotated[list[str], Meta(max_length=50)] = []
    days: Annotated[int, Meta(ge=1, le=365)] = 90


class TokenOut(Struct):
    """An API token, without the token itself."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class NewToken(TokenOut):
    """A new API token, with the token itself, which is shown only now."""

    token: str


class SecondFactor(Struct):
    """The password was right: one of these factors must follow."""

    factors: list[str]


class CodeIn(Struct, forbid_unknown_fields=True):
    """A code of an authenticator app, or a recovery code."""

    code: Annotated[str, Meta(min_length=1, max_length=40)]


class TOTPSecret(Struct):
    """The secret of an authenticator app, and its URI for a QR code."""

    secret: str
    uri: str


class RecoveryCodes(Struct):
    """Recovery codes, which are shown only now."""

    codes: list[str]


class PasskeyIn(Struct, forbid_unknown_fields=True):
    """A new passkey: its name, and the response of `navigator.credentials.create`."""

    credential: dict[str, Any]
    name: Name = "Passkey"


class PasskeyLogin(Struct, forbid_unknown_fields=True):
    """The response of `navigator.credentials.get`."""

    credential: dict[str, Any]


class PasskeyOptions(Struct):
    """Options for `navigator.credentials`, in the form of `parseRequestOptionsFromJSON`."""

    options: dict[str, Any]


class PasskeyOut(Struct):
    """A passkey."""

    id: int
    name: str
    created_at: datetime
    used_at: datetime | None


class NewPasskey(PasskeyOut):
    """A new passkey. If it is the first factor, there are recovery codes, which are shown now."""

    recovery_codes: list[str]
