"""Check the answers of `make template-update`: cookiecutter ignores unknown names."""

import json
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path


def find_errors(text: str) -> Iterator[str]:
    """Yield the errors of a JSON object of answers, one line each."""
    try:
        answers = json.loads(text)
    except ValueError as error:
        yield f"ANSWERS is not valid JSON: {error}"
        return
    if not isinstance(answers, dict):
        yield "ANSWERS must be a JSON object"
        return
    record = Path(".template.yaml").read_text(encoding="utf-8")
    questions = re.findall(r'^  (\w+): "', record, re.MULTILINE)
    for name, value in answers.items():
        if name not in questions:
            close = get_close_matches(name, questions, n=1)
            yield f"{name} is not a question" + (f": did you mean {close[0]}?" if close else "")
        elif not isinstance(value, str | bool):
            yield f"{name}: {json.dumps(value)} is not a text, true or false"


if errors := list(find_errors(sys.argv[1])):
    example = """Nothing changed. Example: make template-update ANSWERS='{"example_app": false}'"""
    sys.exit("\n".join([*errors, example]))
