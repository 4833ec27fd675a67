"""Relink the remaining migrations after a template update that removed some of them."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

MIGRATIONS = Path("migrations", "versions")
Revisions = tuple[str, ...]


def read_links(text: str) -> dict[str, tuple[ast.expr, Revisions]]:
    """Return the revisions that a migration assigns, with the syntax nodes of their values."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if name in ("revision", "down_revision", "depends_on"):
                value = ast.literal_eval(node.value) or ()
                found[name] = (node.value, (value,) if isinstance(value, str) else tuple(value))
    return found


def resolve(revisions: Revisions, removed: dict[str, Revisions]) -> Revisions:
    """Replace removed revisions with the ones that they follow."""
    found: list[str] = []
    for revision in revisions:
        found += resolve(removed[revision], removed) if revision in removed else [revision]
    return tuple(dict.fromkeys(found))


def relink(file: Path, removed: dict[str, Revisions]) -> None:
    """Replace removed revisions in the links of a migration."""
    text = file.read_text(encoding="utf-8")
    for name, (node, before) in reversed(read_links(text).items()):
        after = resolve(before, removed)
        if name == "revision" or after == before:
            continue
        quoted = [json.dumps(revision) for revision in after]
        value = {0: "None", 1: "".join(quoted)}.get(len(quoted), f"({', '.join(quoted)})")
        lines = text.splitlines(keepends=True)
        start, end = lines[node.lineno - 1], lines[(node.end_lineno or 0) - 1]
        line = start[: node.col_offset] + value + end[node.end_col_offset :]
        lines[node.lineno - 1 : node.end_lineno] = [line]
        old, new = ", ".join(before), ", ".join(after) or "nothing"
        # The docstring contains the link, too.
        pattern = rf"^(Revis.*)\b{re.escape(old)}\b"
        text = re.sub(pattern, rf"\g<1>{new}", "".join(lines), flags=re.MULTILINE)
        print(f"{file}: {name} is now {value}, because {old} was removed")
        file.write_text(text, encoding="utf-8")
        subprocess.run(["git", "add", "--", file], check=True)  # noqa: S603, S607 - git from PATH


def main(old: Path, new: Path) -> None:
    """Relink migrations if the update removed some, and print how to drop the tables of these."""
    names = {file.name for file in (old / MIGRATIONS).glob("*.py")}
    names -= {file.name for folder in (new, Path()) for file in (folder / MIGRATIONS).glob("*.py")}
    if not names:
        return
    texts = [(old / MIGRATIONS / name).read_text(encoding="utf-8") for name in sorted(names)]
    links = [read_links(text) for text in texts]
    removed = {link["revision"][1][0]: link["down_revision"][1] for link in links}
    left = sorted(MIGRATIONS.glob("*.py"))
    for file in left:
        relink(file, removed)
    tables = [table for text in texts for table in re.findall(r'create_table\(\s*"(\w+)"', text)]
    print(f"Removed migrations: {', '.join(removed)}. Their tables remain in existing databases.")
    print("Development: delete the database: rm -f development.sqlite3*")
    print("Production: drop the tables in a migration: alembic revision -m 'drop tables'")
    for table in reversed(tables):
        print(f'    op.drop_table("{table}", if_exists=True)')
    if not left:
        print("Before you apply it, run once: DELETE FROM alembic_version;")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
