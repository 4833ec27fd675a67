"""Tests of the lists of files of the default, the smallest and the largest project, for reviews."""

import os
from pathlib import Path

import pytest

from tests.matrix import DEFAULT, FULL, MINIMAL, Combination, parametrize_combinations

TREES = Path(__file__).parent / "expected_files"


@parametrize_combinations([DEFAULT, MINIMAL, FULL])
def test_files_match_expected_list(combination: Combination, project: Path) -> None:
    """The project has exactly the expected files; UPDATE_TREES=1 rewrites the list."""
    paths = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    tree = "".join(f"{path}\n" for path in paths)
    expected = TREES / f"{combination.id}.txt"
    if os.environ.get("UPDATE_TREES"):
        expected.write_text(tree, encoding="utf-8")
    if not expected.exists():
        pytest.fail(f"{expected.name} is missing: UPDATE_TREES=1 make test")
    assert tree == expected.read_text(encoding="utf-8"), "to accept the difference: UPDATE_TREES=1 make test"


def test_each_list_has_a_combination() -> None:
    """The folder has no list of a removed combination."""
    assert {path.stem for path in TREES.iterdir()} <= {combination.id for combination in (DEFAULT, MINIMAL, FULL)}
