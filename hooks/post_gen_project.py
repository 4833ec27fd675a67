"""Delete the files of unselected options, write `.env`, and print the summary."""

import contextlib
import glob
import json
import os
import re
import shlex
import sys
from pathlib import Path

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))
before = json.loads(Path(".before-render.json").read_text(encoding="utf-8"))
os.remove(".before-render.json")


def remove(path: str) -> None:
    """Delete a path that this render wrote: a new or changed file, or a new empty folder."""
    if os.path.isdir(path) and not os.path.islink(path):
        if path not in before and not os.listdir(path):
            os.rmdir(path)
    elif os.path.lexists(path) and os.lstat(path).st_ctime_ns != before.get(path):
        os.remove(path)


table = [(pattern, glob.glob(f"./{pattern}"), wanted) for pattern, wanted in answers["_files"].items()]
if missing := [pattern for pattern, found, _ in table if not found]:
    sys.exit(f"cookiecutter.json names files that the template does not have: {', '.join(missing)}")
for _, found, wanted in table:
    for path in found if any(answers[name] not in values for name, values in wanted.items()) else []:
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files + folders:
                remove(os.path.join(folder, name))
        remove(path)

# Updates render the template again, so record an absolute path, or a URL that git accepts, without a password.
address = answers["_template"].removeprefix("git+")
path = os.path.normpath(os.path.join(os.environ.get("PWD", os.path.dirname(os.getcwd())), address))
host, _, name = address.partition(":")
if os.path.exists(os.path.join(path, "cookiecutter.json")):
    address = path
elif host in answers["_git_hosts"]:
    address = answers["_git_hosts"][host].format(name)
address = re.sub("^(https?://)[^/@]*@", r"\1", address)
record = Path(".template.yaml")
text = record.read_text(encoding="utf-8").replace('"<template>"', json.dumps(address, ensure_ascii=False))
record.write_text(text, encoding="utf-8", newline="\n")

if not os.path.lexists(".env"):
    with open(".env", "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as env:
        env.write(re.sub("<secret>", lambda _: os.urandom(32).hex(), Path(".env.example").read_text(encoding="utf-8")))

folder = min(os.path.relpath(".", os.environ.get("PWD", "..")), os.getcwd(), key=len)
chosen = [(name, answer) for name, answer in answers.items() if not name.startswith("_")]
summary = [
    f"\n{answers['project_name']} is ready in {folder}\n",
    *(f"  {name:14}  {({True: 'yes', False: 'no'}).get(answer, answer)}" for name, answer in chosen),
    f"\nNext:\n\n  cd {shlex.quote(folder)}",
    *(f"  {command:50}  {effect}" for command, effect in answers["__next_commands"] if command),
    "\n",
]
# Without print(): after a failed write Python would try again at exit and fail, although the project is complete.
with contextlib.suppress(OSError):
    os.write(1, "\n".join(summary).encode(getattr(sys.stdout, "encoding", "utf-8"), "backslashreplace"))
