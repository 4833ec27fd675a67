"""Signed values for cookies and links, with a time and a purpose."""

from hashlib import sha256

from itsdangerous import URLSafeTimedSerializer

from ...config import get_settings


def get_serializer(purpose: str) -> URLSafeTimedSerializer:
    """Return the serializer of a purpose, by which a value for another purpose is not valid.

    It signs with SECRET_KEY, and verifies with SECRET_KEY_FALLBACKS, too.
    """
    settings = get_settings()
    # The last key signs.
    keys = [*settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY]
    return URLSafeTimedSerializer(keys, salt=purpose, signer_kwargs={"digest_method": sha256})
