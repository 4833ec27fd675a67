"""Name the file of a preset, or all that is wrong with it.

Cookiecutter passes over names that it does not know, and after the first wrong value takes its own defaults.
"""

import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

PRESETS = Path(__file__).parent
QUESTIONS = {
    name: question
    for name, question in json.loads((PRESETS.parent / "cookiecutter.json").read_text(encoding="utf-8")).items()
    if not name.startswith("_")
}
YES_OR_NO = {"1", "true", "t", "yes", "y", "on", "0", "false", "f", "no", "n", "off"}


def find(preset: str) -> Path:
    """Take a name for one of ours, and what looks like a path for a path."""
    path = Path(preset).expanduser()
    return path if path.suffix or len(path.parts) > 1 else PRESETS / f"{preset}.yaml"


def read(path: Path) -> Any:  # noqa: ANN401 - what YAML holds
    """Read a file of answers; none, where there is no such file or no such thing in it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        sys.exit(f"{path.stem} is no preset: take {known}, or the path of a file of your own")
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"{path} cannot be read: {' '.join(str(error).split())}")


def faults(found: object) -> Iterator[str]:
    """Say what cookiecutter would not take, or not as it is meant."""
    answers = found.get("default_context") if isinstance(found, dict) else None
    if not isinstance(answers, dict):
        yield "its answers belong below `default_context:`, as `name: value`"
        return
    for name, value in answers.items():
        question = QUESTIONS.get(name)
        if question is None:
            close = get_close_matches(str(name), QUESTIONS, n=1)
            yield f"{name} is no question" + (f": {close[0]} is one" if close else "")
        elif isinstance(question, list) and value not in question:
            quoted = f'; write "{value}"' if str(value) in question else ""
            yield f"{name} = {value!r} is none of {', '.join(question)}{quoted}"
        elif isinstance(question, bool) and not isinstance(value, bool) and str(value).lower() not in YES_OR_NO:
            yield f"{name} = {value!r} is neither true nor false"
        elif isinstance(question, str) and not isinstance(value, str):
            yield f"{name} = {value!r} is no text: quote it"


def main(preset: str) -> None:
    """Print the path of a preset, if it is right; nothing for none."""
    if not preset:
        return
    path = find(preset)
    if wrong := list(faults(read(path))):
        sys.exit(f"Nothing was written: {path} is no file of answers to this template.\n\n  " + "\n  ".join(wrong))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1])
