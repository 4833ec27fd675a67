"""Print the answers of `make template-update`, with those for new questions that change nothing.

Cookiecutter would take the defaults of new questions. Standard input is the cookiecutter.json of
the template.
"""

import json
import sys
from pathlib import Path

record = Path(".template.yaml").read_text(encoding="utf-8")
unchanged = json.load(sys.stdin).get("_answers_of_older_projects", {})
new = {name: answer for name, answer in unchanged.items() if f"\n  {name}: " not in record}
print(json.dumps(new | json.loads(sys.argv[1])))
