"""Remove the files of what was not chosen, make `.env`, and say what to do next."""

import glob
import json
import os
import shlex
import shutil
import sys

answers = dict(json.loads(r"""{{ cookiecutter.items()|list|tojson }}"""))

table = [(pattern, glob.glob(pattern), wanted) for pattern, wanted in answers["_files"].items()]
if missing := [pattern for pattern, found, _ in table if not found]:
    sys.exit(f"cookiecutter.json names files that the template does not have: {', '.join(missing)}")
for _, found, wanted in table:
    if all(answers[name] in values for name, values in wanted.items()):
        continue
    for path in found:
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
print(f"\nNext:\n\n  cd {shlex.quote(folder)}")
print("  make run     serves it on http://127.0.0.1:8000\n  make test    runs its tests\n")
