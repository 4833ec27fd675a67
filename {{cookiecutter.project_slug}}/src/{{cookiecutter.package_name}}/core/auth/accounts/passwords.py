"""Passwords: argon2id hashes with the parameters of OWASP, and the policy of NIST SP 800-63B."""

import re
import unicodedata
from functools import cache
from pathlib import Path
from secrets import token_hex

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ...errors import FieldError, UnprocessableContent

# 19 MiB and two passes: OWASP's minimum. The next login after a change computes a new hash.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
HASH_ERRORS = (InvalidHashError, VerificationError)

MIN_LENGTH = 12
MAX_LENGTH = 256
# Characters of a password that remain without its common fragments.
MIN_UNCOMMON = 4
MIN_UNIQUE_CHARACTERS = 5


def hash_password(password: str) -> str:
    """Return the hash of a password with its parameters and a random salt."""
    return HASHER.hash(normalize(password))


def verify_password(password: str, password_hash: str | None) -> bool:
    """Return whether a password is right. It takes the same time if there is no hash."""
    dummy = dummy_hash()
    try:
        HASHER.verify(password_hash or dummy, normalize(password))
    except HASH_ERRORS:
        return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Return whether a hash has other parameters than new ones have."""
    return HASHER.check_needs_rehash(password_hash)


def require_strength(password: str, email: str, field: str = "password") -> None:
    """Raise the error for 422 if a password is too short or too common."""
    message = ""
    if len(password) < MIN_LENGTH:
        message = f"Use at least {MIN_LENGTH} characters; several words are easy to remember"
    elif is_common(password, email):
        message = "This password is easy to guess; use several words that do not belong together"
    if message:
        raise UnprocessableContent(FieldError(field, message))


def is_common(password: str, email: str = "") -> bool:
    """Return whether a password consists of common fragments, such as `Password12345!`."""
    text = normalize(password).lower()
    if len(set(text)) < MIN_UNIQUE_CHARACTERS:
        return True
    for fragment in (*re.findall("[a-z]{3,}", email.lower()), *common_fragments()):
        text = text.replace(fragment, "")
    # Numbers, years and punctuation that people append.
    text = re.sub(r"[\W\d_]+", "", text)
    return len(text) < MIN_UNCOMMON


@cache
def common_fragments() -> tuple[str, ...]:
    """Return common words and sequences, the longest first."""
    lines = Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split()
    return tuple(sorted(lines, key=len, reverse=True))


@cache
def dummy_hash() -> str:
    """Return the hash of a random password."""
    return hash_password(token_hex())


def normalize(password: str) -> str:
    """Return a password in the form that all keyboards and systems agree on."""
    return unicodedata.normalize("NFKC", password)
