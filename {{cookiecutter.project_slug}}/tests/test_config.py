import re
from pathlib import Path

from {{ cookiecutter.package_name }}.config import ENV_NAMES, Settings

ROOT = Path(__file__).parents[1]


def test_env_example_explains_every_setting() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    explained = set(re.findall(r"(?m)^#?([A-Z][A-Z0-9_]*)=", example))
    settings = {ENV_NAMES.get(name, name) for name in Settings.__struct_fields__}
    missing = settings - explained - {"FLASK_TESTING"}
    assert not missing, f"config.py has these, .env.example does not explain them: {missing}"

    compose = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("compose*.yaml"))
    used = {"FLASK_APP", *re.findall(r"\$\{([A-Z][A-Z0-9_]*)", compose)}
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    # OpenTelemetry reads its variables itself.
    used |= {name for name in explained if name.startswith("OTEL_")}
    # {% endif %}
    unknown = explained - settings - used
    assert not unknown, f".env.example has these, config.py and compose.yaml do not: {unknown}"
