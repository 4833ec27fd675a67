"""Encryption of secrets that must be read again, with a key derived from SECRET_KEY."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from ....config import get_settings


def encrypt(text: str) -> str:
    """Return an encrypted text."""
    encrypted: bytes = get_cipher().encrypt(text.encode())
    return encrypted.decode()


def decrypt(text: str) -> str:
    """Return a decrypted text; raise `ValueError` if SECRET_KEY_FALLBACKS lacks its key."""
    from cryptography.fernet import InvalidToken

    try:
        decrypted: bytes = get_cipher().decrypt(text.encode())
    except InvalidToken:
        raise ValueError("encrypted with another SECRET_KEY") from None
    return decrypted.decode()


def reencrypt(text: str) -> str:
    """Return a text encrypted with SECRET_KEY, which is itself if it was; raise as `decrypt`."""
    from cryptography.fernet import InvalidToken

    try:
        get_cipher(current_only=True).decrypt(text.encode())
    except InvalidToken:
        return encrypt(decrypt(text))
    return text


def get_cipher(*, current_only: bool = False) -> Any:
    """Return the cipher of SECRET_KEY; by default it reads texts of SECRET_KEY_FALLBACKS, too."""
    # Imported on first use: most requests need none.
    from cryptography.fernet import Fernet, MultiFernet

    settings = get_settings()
    keys = [settings.SECRET_KEY, *([] if current_only else settings.SECRET_KEY_FALLBACKS)]
    return MultiFernet([Fernet(derive_key(key)) for key in keys])


def derive_key(secret: str) -> bytes:
    """Return a key for one purpose."""
    return urlsafe_b64encode(sha256(f"encryption {secret}".encode()).digest())
