from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.auth.accounts.encryption import (
    decrypt,
    encrypt,
)

KEYS = ("an-old-key-of-32-characters-000000", "a-new-key-of-32-characters-1111111")


def test_text_is_decrypted_with_a_former_key(make_app: Callable[..., Flask]) -> None:
    with make_app(SECRET_KEY=KEYS[0]).app_context():
        encrypted = encrypt("a secret")
        assert decrypt(encrypted) == "a secret"
    with make_app(SECRET_KEY=KEYS[1], SECRET_KEY_FALLBACKS=KEYS[0]).app_context():
        assert decrypt(encrypted) == "a secret"
    with make_app(SECRET_KEY=KEYS[1]).app_context(), pytest.raises(ValueError, match="SECRET_KEY"):
        decrypt(encrypted)
