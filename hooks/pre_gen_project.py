"""Refuse answers that cannot make a working project: all at once, before a file is written."""

import json
import keyword
import re
import shlex
import sys

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))
taken = {*sys.stdlib_module_names, *keyword.kwlist, *answers["_reserved"]}


def fault(value: str, pattern: str, must: str, *, free: bool = False) -> str:
    """Say what is wrong with a value; nothing, when it keeps the rule."""
    if not re.fullmatch(pattern, value):
        return must
    if free and value.replace("-", "_") in taken:
        return "is a name that Python or a package of the project already has"
    return ""


faults = []
for name, *mended in answers["__try"]:
    rule = answers["_rules"][name]
    asked = str(answers.get(f"_asked_{name}", answers[name]))
    if problem := fault(asked, **rule):
        good = next(text for text in mended if not fault(text, **rule))
        faults.append(f"{name} = {asked!r}\n    {problem}\n    type: {shlex.quote(f'{name}={good}')}")
for forbidden, reason in answers["_conflicts"]:
    if all(answers[name] in values for name, values in forbidden.items()):
        asked = ", ".join(f"{name} = {answers[name]}" for name in forbidden)
        faults.append(f"{asked}\n    {reason}")
if faults:
    sys.exit("\nNothing was written: these answers cannot make a project.\n\n  " + "\n\n  ".join(faults) + "\n")
