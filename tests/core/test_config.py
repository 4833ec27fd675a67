import pytest

from {{ cookiecutter.package_name }}.config import (
    DEVELOPMENT_DEFAULTS,
    RENAMED,
    Settings,
    SettingsError,
    load_settings,
)

PRODUCTION = DEVELOPMENT_DEFAULTS | {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "ALLOWED_HOSTS": "example.com, .example.org",
}


def test_debug_mode_starts_without_settings() -> None:
    assert load_settings({"FLASK_DEBUG": "1"}).DEBUG


def test_production_starts_with_all_settings() -> None:
    settings = load_settings(PRODUCTION)
    assert not settings.DEBUG
    assert settings.ALLOWED_HOSTS == ["example.com", ".example.org"]


def test_missing_settings_are_listed() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    for name in PRODUCTION:
        assert f"{name} is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", "<secret>"),
        ("SECRET_KEY", "x" * 64),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY", "not-a-secret-and-rejected-in-production"),
        ("ALLOWED_HOSTS", ","),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "https://example.com"),
        ("ALLOWED_HOSTS", "::1"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://example.com/"),
        ("CORS_ORIGINS", "https://user@example.com"),
        ("CORS_ORIGINS", "https://example.com:99999"),
        ("CORS_ORIGINS", "https://.example.com"),
        ("MAX_CONTENT_LENGTH", "1 MB"),
        ("RATE_LIMIT_WRITES", "often"),
        ("RATE_LIMIT_WRITES", "0/minute"),
        ("RATE_LIMIT_WRITES", "600/minute\n"),
        ("READINESS_TIMEOUT", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("FLASK_DEBUG", "perhaps"),
    ],
)
def test_invalid_setting_is_rejected_in_production(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(PRODUCTION | {name: text})
    assert f"  {name}" in str(caught.value)
    assert text not in str(caught.value) or "SECRET" not in name
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("mode", ["FLASK_DEBUG", "FLASK_TESTING"])
def test_debug_mode_requires_a_loopback_address(mode: str) -> None:
    for address in ("localhost:80", "127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "unix:/run/a.sock"):
        load_settings({mode: "1", "BIND": address})
    for address in ("0.0.0.0:80", "0:80", "[::]:80", "192.168.1.2:80", "127.0.0.1.example.com:80"):
        with pytest.raises(SettingsError, match="BIND: expected a loopback address"):
            load_settings({mode: "1", "BIND": address})
        load_settings(PRODUCTION | {"BIND": address})
    with pytest.raises(SettingsError, match="FLASK_RUN_HOST: expected a loopback address"):
        load_settings({mode: "1", "FLASK_RUN_HOST": "192.168.1.2"})


def test_invalid_setting_is_rejected_in_debug_mode() -> None:
    with pytest.raises(SettingsError, match="READINESS_TIMEOUT"):
        load_settings({"FLASK_DEBUG": "1", "READINESS_TIMEOUT": "soon"})


def test_all_errors_are_listed_together() -> None:
    wrong = {"LOG_LEVEL": "LOUD", "ALLOWED_HOSTS": "*"}
    wrong |= {name: "oracle://host:port" for name in PRODUCTION if name.endswith("_URL")}
    with pytest.raises(SettingsError) as caught:
        load_settings(PRODUCTION | wrong)
    lines = str(caught.value).splitlines()[1:]
    assert {line.split(":")[0].strip() for line in lines} == wrong.keys()


def test_renamed_setting_is_accepted_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="CONTENT_SOURCES has been renamed: set CSP_SOURCES"):
        settings = load_settings({"FLASK_DEBUG": "1", "CONTENT_SOURCES": "https://a.example"})
    assert settings.CSP_SOURCES == ["https://a.example"]


def test_new_name_of_a_setting_wins() -> None:
    both = {"CONTENT_SOURCES": "https://a.example", "CSP_SOURCES": "https://b.example"}
    with pytest.warns(FutureWarning, match="CONTENT_SOURCES"):
        settings = load_settings({"FLASK_DEBUG": "1", **both})
    assert settings.CSP_SOURCES == ["https://b.example"]


def test_renamed_settings_exist() -> None:
    assert set(RENAMED.values()) <= set(Settings.__struct_fields__)
    assert set(RENAMED).isdisjoint(Settings.__struct_fields__)
