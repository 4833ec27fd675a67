import pytest

from {{ cookiecutter.package_name }}.core.auth.accounts import passwords
from {{ cookiecutter.package_name }}.core.errors import UnprocessableContent


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "Password12345!",
        "passwordpassword",
        "qwertyuiop123",
        "123456789012",
        "iloveyou2024!!",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "Summer2026!!!",
        "correct horse battery staple",
        "ada.lovelace2026",
        "P@ssw0rd123456",
        "１２３４５６７８９０１２",
    ],
)
def test_guessable_passwords_are_rejected(password: str) -> None:
    with pytest.raises(UnprocessableContent):
        passwords.require_strength(password, "ada.lovelace@example.com")


@pytest.mark.parametrize(
    "password",
    ["three kites over tokyo", "Xk9#mQ2$vL5p", "ein Eimer voll Nebel", "пять синих слонов"],
)
def test_other_passwords_are_accepted(password: str) -> None:
    passwords.require_strength(password, "ada@example.com")


def test_hash_has_the_parameters_of_owasp() -> None:
    first, second = passwords.hash_password("a"), passwords.hash_password("a")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert not passwords.needs_rehash(first)


def test_password_is_compared_in_one_unicode_form() -> None:
    password_hash = passwords.hash_password("caf\u00e9")
    assert passwords.verify_password("cafe\u0301", password_hash)
    assert not passwords.verify_password("cafe", password_hash)


@pytest.mark.parametrize("password_hash", [None, "", "not a hash"])
def test_missing_or_broken_hash_matches_nothing(password_hash: str | None) -> None:
    assert not passwords.verify_password("", password_hash)
