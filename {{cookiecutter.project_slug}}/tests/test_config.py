import pytest

from {{ cookiecutter.package_name }}.config import (
    EMBEDDED,
    SettingsError,
    load_settings,
)

PRODUCTION = EMBEDDED | {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "ALLOWED_HOSTS": "example.com, .example.org",
}


def test_debug_mode_needs_nothing() -> None:
    assert load_settings({"FLASK_DEBUG": "1"}).DEBUG


def test_production_starts_when_all_is_set() -> None:
    settings = load_settings(PRODUCTION)
    assert not settings.DEBUG
    assert settings.ALLOWED_HOSTS == ["example.com", ".example.org"]


def test_production_names_all_that_is_missing() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    for name in PRODUCTION:
        assert f"{name} is missing" in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", "<secret>"),
        ("SECRET_KEY", "x" * 64),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY", "not-a-secret-and-refused-in-production"),
        ("ALLOWED_HOSTS", ","),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "https://example.com"),
        ("MAX_CONTENT_LENGTH", "1 MB"),
        ("RATE_LIMIT_WRITES", "often"),
        ("RATE_LIMIT_WRITES", "0/minute"),
        ("RATE_LIMIT_WRITES", "600/minute\n"),
        ("READINESS_TIMEOUT", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("FLASK_DEBUG", "perhaps"),
    ],
)
def test_production_refuses(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(PRODUCTION | {name: text})
    assert name in caught.value.message
    assert text not in caught.value.message or name == "LOG_LEVEL"
    assert len(caught.value.message.splitlines()) == 2


def test_a_malformed_setting_is_refused_in_debug_mode_too() -> None:
    with pytest.raises(SettingsError, match="READINESS_TIMEOUT"):
        load_settings({"FLASK_DEBUG": "1", "READINESS_TIMEOUT": "soon"})
