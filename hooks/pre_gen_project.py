"""Refuse answers that cannot make a working project: all at once, before a file is written."""

import json
import keyword
import re
import shlex
import sys

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))
taken = {*sys.stdlib_module_names, *keyword.kwlist, *answers["_reserved"]}


def fault(value: str, rule: dict) -> str:
    """Say what is wrong with a value; nothing, when it keeps the rule."""
    if not re.fullmatch(rule["pattern"], value):
        return rule["must"]
    if rule.get("free") and value.replace("-", "_") in taken:
        return "is a name that Python or a package of the project already has"
    return ""


faults = []
for name, rule in answers["__rules"].items():
    asked = answers.get(f"_asked_{name}", answers[name])
    if problem := fault(asked, rule):
        mended = next((f"{name}={text}" for text in rule["try"] if not fault(text, rule)), "")
        faults.append(f"{name} = {asked!r}\n    {problem}\n    type: {shlex.quote(mended)}")
for forbidden, reason in answers["_conflicts"]:
    if all(answers[name] in values for name, values in forbidden.items()):
        asked = ", ".join(f"{name} = {answers[name]}" for name in forbidden)
        faults.append(f"{asked}\n    {reason}")
if faults:
    sys.exit("\nNothing was written: these answers cannot make a project.\n\n  " + "\n\n  ".join(faults) + "\n")
