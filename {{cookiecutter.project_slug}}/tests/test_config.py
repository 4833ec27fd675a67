import pytest

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings

PRODUCTION = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "ALLOWED_HOSTS": "example.com, .example.org",
    "DATABASE_URL": "sqlite:///production.sqlite3",
}


def test_debug_mode_needs_nothing() -> None:
    settings = load_settings({"FLASK_DEBUG": "1"})
    assert settings.DEBUG
    assert settings.DATABASE_URL.startswith("sqlite:")


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
        ("SECRET_KEY", "not-a-secret-and-refused-in-production"),
        ("ALLOWED_HOSTS", ","),
        ("DATABASE_URL", "production.sqlite3"),
        ("MAX_CONTENT_LENGTH", "1 MB"),
        ("RATE_LIMIT", "often"),
        ("LOG_LEVEL", "LOUD"),
        ("FLASK_DEBUG", "perhaps"),
    ],
)
def test_production_refuses(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(PRODUCTION | {name: text})
    assert name.removeprefix("FLASK_") in caught.value.message
    assert text not in caught.value.message or name == "LOG_LEVEL"
    assert len(caught.value.message.splitlines()) == 2


def test_a_malformed_setting_is_refused_in_debug_mode_too() -> None:
    with pytest.raises(SettingsError, match="READINESS_TIMEOUT"):
        load_settings({"FLASK_DEBUG": "1", "READINESS_TIMEOUT": "soon"})
