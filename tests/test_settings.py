"""Tests of settings: invalid values are reported in one line, and all settings are documented."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.application_servers import SETTINGS
from tests.conftest import Run
from tests.matrix import COMBINATIONS, DEFAULT, Combination, Value, parametrize_combinations
from tests.settings import setting_names

# Typing errors, unescaped passwords, and values for other programs.
INVALID_VALUES = [
    "abc",
    "-1",
    "[",
    "  ",
    "1" + "0" * 30,
    "NaN",
    "inf",
    "smtp://u:a-secret[b@h",
    "redis://:a-secret#ss@h/1",
    "https://h:99999/?password=a-secret",
    "://",
    "/etc/hosts",
    "é",
    "\udce9",  # é in another encoding
]
# Prints the result of each invalid value for each setting: the lines of the error, or an unexpected exception.
TRY_VALUES = """
import json
import sys

from {package} import create_app
from {package}.config import ENV_NAMES, Settings, SettingsError, load_settings

base, values = json.loads(sys.stdin.read())
create_app(load_settings(base))
for field in Settings.__struct_fields__:
    name = ENV_NAMES.get(field, field)
    for text in values:
        try:
            create_app(load_settings(base | {{name: text}}))
            result = []
        except SettingsError as error:
            result = str(error).splitlines()
        except Exception as error:
            result = repr(error)
        print(json.dumps([name, text, result]), file=sys.stderr)
"""


def covering_combinations() -> Iterator[Combination]:
    """Yield a small number of combinations that contain each value of the options with settings."""
    missing: set[tuple[str, Value]] = {
        (name, value)
        for combination in COMBINATIONS
        for name, value in combination.options.items()
        if name in {"database", "cache", "task_queue", "cdn", "reverse_proxy", "wsgi_server", "example_app"}
    }
    while missing:
        combination = max(COMBINATIONS, key=lambda combination: len(missing & combination.options.items()))
        missing -= combination.options.items()
        yield combination


@parametrize_combinations(covering_combinations())
def test_invalid_value_is_reported_in_one_line(project: Path, venv_bin: Path, run: Run) -> None:
    """For each value of each setting the application starts or reports one line without secrets."""
    (package,) = (path.name for path in (project / "src").iterdir())
    core = project / "src" / package / "core"
    url = next((f"{name}://127.0.0.1/app" for name in ("mongodb", "cassandra") if (core / name).exists()), "sqlite://")
    base = {**SETTINGS, "DATABASE_URL": url}
    result = run(
        venv_bin / "python",
        "-c",
        TRY_VALUES.format(package=package),
        cwd=project,
        typed=json.dumps([base, INVALID_VALUES]),
        PYTHONPATH="src",
    )
    assert result.returncode == 0, result.stderr
    outcomes: list[tuple[str, str, Any]] = [json.loads(line) for line in result.stderr.splitlines()]
    assert len(outcomes) > 10 * len(INVALID_VALUES)
    unexpected = [outcome for outcome in outcomes if not isinstance(outcome[2], list)]
    assert unexpected == []
    reported = [outcome for outcome in outcomes if outcome[2]]
    assert len(reported) > len(outcomes) / 3
    for name, text, error in reported:
        assert len(error) == 2, error
        assert re.fullmatch(rf"  {name}: expected .+, got .+", error[1]), error
        assert "a-secret" not in error[1], error
        is_hidden = re.search("SECRET|TOKEN|_URL|OIDC_PROVIDERS|UPSTREAMS", name)
        is_shown = not is_hidden and "://" not in text and text.strip()
        assert not is_shown or repr(text)[1:-1] in error[1], (text, error)


COMMANDS = [
    "flask --help",
    "flask run",
    "flask run --debug",
    "alembic upgrade head",
    "celery -A my_service.worker worker",
    "celery -A my_service.worker beat",
    "python scripts/profile_request.py flame /docs 1",
]


@parametrize_combinations([DEFAULT])
@pytest.mark.parametrize("command", COMMANDS)
def test_command_prints_only_the_error(project: Path, venv_bin: Path, run: Run, command: str) -> None:
    """Each command reports an invalid setting in one line, without a traceback."""
    program, *arguments = command.split()
    settings = {
        **SETTINGS,
        "DATABASE_URL": "sqlite://",
        "SMTP_URL": "smtp://u:a-secret[b@h",
        "FLASK_APP": "my_service.wsgi",
    }
    result = run(venv_bin / program, *arguments, cwd=project, PYTHONPATH="src", FLASK_SKIP_DOTENV="1", **settings)
    assert result.returncode == 1
    title, line = result.stderr.splitlines()
    assert title == "Error: missing or invalid settings (see .env.example):"
    assert line.startswith("  SMTP_URL: expected smtp://user:password@host:port or log:, got 'smtp://…'")
    assert result.stdout == ""


NAME = re.compile(r"#?([A-Z][A-Z0-9_]*)=")
# Flask's own, and what only tests set.
FLASK = {"FLASK_APP", "FLASK_TESTING"}


def find_undocumented(project: Path) -> Iterator[str]:
    """Yield settings that `.env.example` does not have or explain, and names that are not settings."""
    settings = setting_names(project)
    compose = "".join(path.read_text(encoding="utf-8") for path in project.glob("compose*.yaml"))
    known = settings | FLASK | {*re.findall(r"\$\{([A-Z][A-Z0-9_]*)", compose)}
    found: set[str] = set()
    for block in (project / ".env.example").read_text(encoding="utf-8").split("\n\n"):
        lines = block.splitlines()
        names = {name[1] for line in lines if (name := NAME.match(line))}
        if names and not any(line.startswith("# ") for line in lines):
            yield f"{names} without an explanation"
        found |= names
    # OpenTelemetry reads its variables itself.
    yield from (f"{name} is not a setting" for name in found - known if not name.startswith("OTEL_"))
    yield from (f"{name} is not explained" for name in settings - found - FLASK)


@parametrize_combinations()
def test_every_setting_is_documented(project: Path) -> None:
    """`.env.example` has exactly the settings of `config.py`, each with a comment."""
    assert len(setting_names(project)) > 10
    assert [*find_undocumented(project)] == []


@parametrize_combinations([DEFAULT])
def test_undocumented_setting_is_reported(project_with_core_tests: Path, venv_bin: Path, run: Run) -> None:
    """The search above and the test of the project report undocumented settings."""
    (config,) = project_with_core_tests.glob("src/*/config.py")
    config.write_text(
        config.read_text(encoding="utf-8").replace("    DEBUG: bool", "    COLOR: str = ''\n    DEBUG: bool")
    )
    with (project_with_core_tests / ".env.example").open("a", encoding="utf-8") as example:
        example.write("\n#SHAPE=round\n")
    assert {*find_undocumented(project_with_core_tests)} == {
        "COLOR is not explained",
        "SHAPE is not a setting",
        "{'SHAPE'} without an explanation",
    }
    tests = ["tests/test_config.py", "-k", "explains", "-p", "no:cacheprovider"]
    result = run(venv_bin / "python", "-m", "pytest", *tests, cwd=project_with_core_tests)
    assert "config.py has these, .env.example does not explain them: {'COLOR'}" in result.stdout


# Libraries accept these values, and then fail at each request or connect to another host.
MALFORMED = {
    "DATABASE_URL": "postgresql://host/name?prepare_threshold=0&password=a-secret",
    "DATABASE_MIGRATION_URL": "postgresql://host/name?sslmode=a-secret",
    "DATABASE_CA_FILE": "/missing.pem",
    "CACHE_URL": "redis://:a-secret#ss@host/1",
    "BROKER_URL": "redis://:a-secret@host:port/1",
    "SMTP_URL": "smtp://:a-secret@host/?timeout=3",
    "CELERY_BROKER_URL": "redis://host/1",
}
ACCEPTED = {
    "DATABASE_URL": "postgres://host/name",
    "CACHE_URL": "rediss://host?ssl_cert_reqs=CERT_REQUIRED&db=3",
    "BROKER_URL": "rediss://host?ssl_cert_reqs=CERT_REQUIRED&db=3",
}


@parametrize_combinations([DEFAULT])
def test_malformed_urls_are_reported_together(project: Path, venv_bin: Path, run: Run) -> None:
    """All unusable URLs are reported at the start, without secrets."""
    command = [venv_bin / "python", "-c", "from my_service.config import load_settings; load_settings()"]
    settings = {**SETTINGS, "BROKER_URL": "redis://host"}
    result = run(*command, cwd=project, PYTHONPATH="src", **{**settings, **MALFORMED})
    _, *lines = result.stderr.splitlines()
    assert sorted(line.split(":")[0].strip() for line in lines) == sorted(MALFORMED), result.stderr
    assert "a-secret" not in result.stderr
    result = run(*command, cwd=project, PYTHONPATH="src", **{**settings, **ACCEPTED})
    assert result.returncode == 0, result.stderr
