"""Combinations whose projects together contain every line of Python that a combination has."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from tests.core_tests import CORE_TESTS, all_answers, environment, tests_of
from tests.matrix import DEFAULT, MANIFEST, MINIMAL, PROJECT, Combination, covering, values_of

MODULES = [PurePosixPath(path.relative_to(PROJECT)) for path in sorted(PROJECT.rglob("*.py"))]
TAG = re.compile(r"(?m)^ *# \{% (if|elif|else|endif)(?: (.+))? %\}$")
# A part of a file: its path, and the number of the tag above it.
Part = tuple[str, int]


@cache
def condition(expression: str) -> Callable[..., object]:
    """Return a compiled condition of a tag."""
    compiled: Callable[..., object] = environment().compile_expression(expression)
    return compiled


@cache
def tags(path: Path) -> list[tuple[str, str]]:
    """Return the kinds and conditions of the tags of a file, in order."""
    found: list[tuple[str, str]] = TAG.findall(path.read_text(encoding="utf-8"))
    return found


def parts(path: Path, holds: Callable[[str], bool]) -> Iterator[Part]:
    """Yield the parts of a file that are rendered: the lines without a tag, and each block whose condition holds.

    Tags do not nest.
    """
    yield str(path), 0
    found = False
    for number, (kind, expression) in enumerate(tags(path), 1):
        if kind == "if":
            found = False
        if kind != "endif" and not found and (kind == "else" or holds(expression)):
            found = True
            yield str(path), number


def lines_of(path: Path, numbers: set[int]) -> list[str]:
    """Return the lines of some parts of a file."""
    lines, part, number = [], 0, 0
    for line in path.read_text(encoding="utf-8").splitlines():
        if tag := TAG.fullmatch(line):
            number += 1
            part = 0 if tag[1] == "endif" else number
        elif part in numbers:
            lines.append(line)
    return lines


def name_in_project(path: Path, package: str) -> str:
    """Return the path of a file of the template, or of a test of the core, in a project."""
    if path.is_relative_to(CORE_TESTS):
        return str("tests" / Path("core") / path.relative_to(CORE_TESTS))
    return str(path.relative_to(PROJECT)).replace("{{cookiecutter.package_name}}", package)


@cache
def needed(module: PurePosixPath) -> list[dict[str, list[Any]]]:
    """Return the conditions of a file and its folders in the table `_files`."""
    return [
        answers
        for pattern, answers in MANIFEST["_files"].items()
        if any(len(path.parts) == pattern.count("/") + 1 and path.match(pattern) for path in (module, *module.parents))
    ]


def code_of(combination: Combination) -> Iterator[Part]:
    """Yield the parts of all Python files of a project and of the tests of its core."""
    answers = all_answers(combination)

    @cache
    def holds(expression: str) -> bool:
        return bool(condition(expression)(cookiecutter=answers))

    for module in MODULES:
        if all(answers[name] in values for condition in needed(module) for name, values in condition.items()):
            yield from parts(PROJECT / module, holds)
    for test in tests_of(answers):
        yield from parts(CORE_TESTS / test, holds)


@cache
def code_cover() -> list[Combination]:
    """Return few combinations with every value of every option and every line of Python of all combinations.

    Conditions of several options are private variables, so code for two values that meet in a file is a part, too.
    """
    return covering(
        lambda combination: [*values_of(combination), *code_of(combination)],
        # `make test-quick` runs the tests of these.
        first=[DEFAULT, MINIMAL],
    )
