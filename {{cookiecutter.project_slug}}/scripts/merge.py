"""Finish the merge of an update: resolve conflicts that need no decision, delete empty folders."""

import difflib
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

CONFLICT = re.compile(
    r"^<{7} [^\n]*\n(?P<ours>.*?)^\|{7} [^\n]*\n(?P<base>.*?)^={7}\n(?P<theirs>.*?)^>{7} [^\n]*\n",
    re.MULTILINE | re.DOTALL,
)


def git(*arguments: str) -> str:
    """Run git, and return its output."""
    command = ["git", *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout  # noqa: S603 - constant commands


def combine(conflict: re.Match[str]) -> str:
    """Apply the template's change next to lines of this project, or return the conflict."""
    ours, base, theirs = (
        conflict[name].splitlines(keepends=True) for name in ("ours", "base", "theirs")
    )
    places: list[int] = []
    for place, line in enumerate(ours):
        if len(places) < len(base) and line == base[len(places)]:
            places.append(place)
    if not base or len(places) < len(base):
        return conflict[0]
    matcher = difflib.SequenceMatcher(None, base, theirs, autojunk=False)
    for tag, start, end, first, last in reversed(matcher.get_opcodes()):
        if tag != "equal":
            at = places[start] if start < len(base) else places[-1] + 1
            for place in reversed(places[start:end]):
                del ours[place]
            ours[at:at] = theirs[first:last]
    return "".join(ours)


def resolve(path: str, stages: set[str]) -> None:
    """Resolve the conflict of a file, if it is safe to do so."""
    if stages == {"1", "3"}:  # deleted in this project, changed in the template
        git("rm", "--quiet", "--", path)
    elif stages == {"1", "2"}:  # deleted in the template, different in this project
        # Without a link the commit of the template is a guess, so an unchanged file can differ.
        commits = git("rev-list", "--count", "HEAD", "--", path)
        if commits == "1\n" and not Path(".cruft.json").exists():
            git("rm", "--quiet", "--", path)
    elif stages == {"1", "2", "3"}:
        file = Path(path)
        text = CONFLICT.sub(combine, file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
        if not CONFLICT.search(text):
            git("add", "--", path)


def main(old: Path, new: Path) -> None:
    """Resolve conflicts, and delete folders that the new version does not have."""
    conflicts = defaultdict(set)
    for entry in git("ls-files", "--unmerged", "-z").split("\0")[:-1]:
        description, _, path = entry.partition("\t")
        conflicts[path].add(description[-1])
    for path, stages in conflicts.items():
        resolve(path, stages)

    for folder in sorted(old.rglob("*/"), reverse=True):
        here = folder.relative_to(old)
        if not (new / here).exists() and here.is_dir():
            left = [file for file in here.rglob("*") if file.is_file() and file.suffix != ".pyc"]
            if not left:
                shutil.rmtree(here)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
