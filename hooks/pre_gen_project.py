"""Reject invalid answers before a file is written. One message lists all of them."""

import glob
import json
import keyword
import os
import re
import shlex
import sys
from pathlib import Path

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))
reserved = {*sys.stdlib_module_names, *keyword.kwlist, *answers["_reserved_names"]}


def find_error(value: str, pattern: str, message: str, *, must_be_available: bool = False) -> str:
    """Return the validation error of a value, or an empty string."""
    if not re.fullmatch(pattern, value):
        return message
    is_reserved = must_be_available and value.replace("-", "_") in reserved
    return "is the name of a module that Python or the project already has" if is_reserved else ""


errors = []
for name, *suggestions in answers["__suggestions"]:
    validator = answers["_validators"][name]
    given = str(answers.get(f"_given_{name}", answers[name]))
    if error := find_error(given, **validator):
        good = next(text for text in suggestions if not find_error(text, **validator))
        argument = shlex.quote(f"{name}={good}")
        errors.append(f"{name} = {given!r}\n    {error}\n    at the prompt: {good}\n    as an argument: {argument}")
for forbidden, reason in answers["_conflicts"]:
    if all(answers[name] in values for name, values in forbidden.items()):
        errors.append(f"{', '.join(f'{name} = {answers[name]}' for name in forbidden)}\n    {reason}")

# For a question that a file of answers lacks, cookiecutter takes the default. An update must not do that silently.
record = Path(os.environ.get("PWD", ""), ".template.yaml")
recorded = record.read_text(encoding="utf-8") if record.exists() else ""
for name, answer in answers["_answers_of_older_projects"].items():
    if recorded and f"\n  {name}: " not in recorded and answers[name] != answer:
        place = f"{[*answers][[*answers].index(name) - 1]} in .template.yaml"
        errors.append(f'{name} is a new question: to change nothing, add a line below {place}\n  {name}: "{answer}"')
if errors:
    sys.exit("\nNothing was written, because of invalid answers:\n\n  " + "\n\n  ".join(errors) + "\n")

# The other hook deletes only files that this render wrote, so it needs the timestamps of existing files. Both hooks use
# the same patterns and follow symbolic links to folders.
before = {}
for top in (path for pattern in answers["_files"] for path in glob.glob(f"./{pattern}")):
    inside = (os.path.join(folder, name) for folder, folders, files in os.walk(top) for name in folders + files)
    before.update({path: os.lstat(path).st_ctime_ns for path in (top, *inside)})
Path(".before-render.json").write_text(json.dumps(before), encoding="utf-8")
