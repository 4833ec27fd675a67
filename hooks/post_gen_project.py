"""Remove the files of what was not chosen, make `.env`, and say what to do next."""

import json
import os
import shlex
import shutil
import sys

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))

missing = [path for path in answers["__files"] if not os.path.lexists(path)]
if missing:
    sys.exit(f"cookiecutter.json names files that the template does not have: {', '.join(missing)}")
for path, wanted in answers["__files"].items():
    if all(answers[name] in values for name, values in wanted.items()):
        continue
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)

if not os.path.exists(".env"):
    with open(".env.example", encoding="utf-8") as example:
        lines = [line.replace("<secret>", os.urandom(32).hex()) for line in example]
    with open(".env", "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as env:
        env.writelines(lines)

folder = os.path.relpath(os.getcwd(), os.environ.get("PWD", os.path.dirname(os.getcwd())))
chosen = {name: answer for name, answer in answers.items() if not name.startswith("_")}
width = max(map(len, chosen))
print(f"\n{answers['project_name']} is ready in {folder}\n")
for name, answer in chosen.items():
    print(f"  {name:{width}}  {({True: 'yes', False: 'no'}).get(answer, answer)}")
print(f"\nNext:\n\n  cd {shlex.quote(folder)}\n  make run     serves it on http://127.0.0.1:8000\n  make test    runs its tests\n")
