"""The settings of a rendered project, read from its `config.py`."""

import ast
from pathlib import Path


def _fields(project: Path) -> dict[str, bool]:
    """Return the environment variable of each setting, and whether production requires it."""
    (config,) = project.glob("src/*/config.py")
    fields: dict[str, bool] = {}
    renamed: dict[str, str] = {}
    for node in ast.parse(config.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Settings":
            fields = {
                ast.unparse(line.target): line.value is None for line in node.body if isinstance(line, ast.AnnAssign)
            }
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ENV_NAMES":
            renamed = ast.literal_eval(node.value)
    return {renamed.get(name, name): required for name, required in fields.items()}


def setting_names(project: Path) -> set[str]:
    """Return the environment variables of all settings."""
    return {*_fields(project)}


def required_settings(project: Path) -> set[str]:
    """Return the environment variables of the settings that have no default in production."""
    return {name for name, required in _fields(project).items() if required}
