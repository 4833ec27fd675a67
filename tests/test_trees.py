"""The files of the default, the smallest and the largest project, so that a review sees a changed tree."""

import os
from pathlib import Path

import pytest

from tests.answers import DEFAULT, FULL, MINIMAL, Row, each

TREES = Path(__file__).parent / "trees"


@each([DEFAULT, MINIMAL, FULL])
def test_tree(row: Row, project: Path) -> None:
    """UPDATE_TREES=1 writes the lists anew."""
    paths = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    tree = "".join(f"{path}\n" for path in paths)
    expected = TREES / f"{row.id}.txt"
    if os.environ.get("UPDATE_TREES"):
        expected.write_text(tree, encoding="utf-8")
    if not expected.exists():
        pytest.fail(f"{expected.name} is missing: UPDATE_TREES=1 make test")
    assert tree == expected.read_text(encoding="utf-8"), "if this is what you want: UPDATE_TREES=1 make test"


def test_no_list_is_left_over() -> None:
    """Each list belongs to a row."""
    assert {path.stem for path in TREES.iterdir()} <= {row.id for row in (DEFAULT, MINIMAL, FULL)}
