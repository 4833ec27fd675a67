"""Tests of a project's `core` package: tests/core is rendered like the template and copied over a project."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from jinja2 import Template

from tests.matrix import COMBINATIONS, MANIFEST, TEMPLATE, Combination, covering, values_of

CORE_TESTS = Path(__file__).with_name("core")
MODULES = TEMPLATE / "{{cookiecutter.project_slug}}" / "src" / "{{cookiecutter.package_name}}" / "core"
# Conditions of files whose name names no module, in the form of `_files` in cookiecutter.json.
CONDITIONS = json.loads((CORE_TESTS / "files.json").read_text(encoding="utf-8"))
FILES = [path.relative_to(CORE_TESTS) for path in sorted(CORE_TESTS.rglob("*.py")) if "__pycache__" not in path.parts]


@cache
def environment() -> StrictEnvironment:
    """Return what renders the tests, as cookiecutter renders files."""
    return StrictEnvironment(
        context={"cookiecutter": MANIFEST}, keep_trailing_newline=True, **MANIFEST["_jinja2_env_vars"]
    )


@cache
def template(path: Path) -> Template:
    """Return a compiled file of tests/core."""
    compiled: Template = environment().from_string((CORE_TESTS / path).read_text(encoding="utf-8"))
    return compiled


def all_answers(combination: Combination) -> dict[str, Any]:
    """Return the answers of a combination and the private variables that cookiecutter derives from them."""
    return derive_answers(json.dumps(combination.context))


@cache
def derive_answers(answers: str) -> dict[str, Any]:
    """Return what cookiecutter derives from answers in JSON, each once: it renders 250 texts."""
    context = generate_context(context_file=str(TEMPLATE / "cookiecutter.json"), extra_context=json.loads(answers))
    return dict(prompt_for_config(context, no_input=True))


def modules(test: Path) -> Iterator[PurePosixPath]:
    """Yield the module, and the packages, that a test or fixture is named after, if they exist.

    `cache/test_redis.py` tests `core/cache/redis.py`. A test without a module of its name is for all projects.
    """
    module = test.with_name(test.name.removeprefix("test_"))
    names = [module, *test.parents] if test.parts[0] != "fixtures" else [Path("*") / module.name]
    for name in names:
        for found in MODULES.glob(str(name)) if name.name else []:
            yield PurePosixPath("src", "package", "core", found.relative_to(MODULES))


@cache
def conditions(test: Path) -> list[dict[str, list[Any]]]:
    """Return the conditions of the modules that a test is named after, and its own."""
    files = MANIFEST["_files"].items()
    tested = {path for module in modules(test) for path in (module, *module.parents)}
    return [
        *(CONDITIONS[str(part)] for part in (test, *test.parents) if str(part) in CONDITIONS),
        *(
            condition
            for pattern, condition in files
            if any(len(path.parts) == pattern.count("/") + 1 and path.match(pattern) for path in tested)
        ),
    ]


def tests_of(answers: dict[str, Any]) -> list[Path]:
    """Return the files of tests/core for a project with these answers."""
    return [
        path
        for path in FILES
        if all(answers[name] in values for condition in conditions(path) for name, values in condition.items())
    ]


@cache
def selected_tests() -> dict[str, set[Path]]:
    """Return the tests that run for each combination, by its ID.

    Each test runs with every value of every option that it can have, in few combinations. The tests of the project
    itself run in all combinations, which contain every pair of values.
    """
    possible: dict[Path, list[Combination]] = {}
    for combination in COMBINATIONS:
        for test in tests_of(all_answers(combination)):
            possible.setdefault(test, []).append(combination)
    selected: dict[str, set[Path]] = {combination.id: set() for combination in COMBINATIONS}
    for test, combinations in possible.items():
        for combination in covering(values_of, combinations):
            selected[combination.id].add(test)
    return selected


def add_core_tests(project: Path, combination: Combination) -> None:
    """Write the tests of the components that a rendered project has to its `tests/core`."""
    answers = all_answers(combination)
    for path in tests_of(answers):
        target = project / "tests" / "core" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(template(path).render(cookiecutter=answers), encoding="utf-8", newline="\n")
    # The project's own coverage settings exclude `core`.
    settings = (
        "[run]\nsource = src\nomit = src/*/lambda_*.py\nbranch = true\n"
        "[report]\nfail_under = 98\nshow_missing = true\nskip_covered = true\n"
    )
    (project / ".coveragerc").write_text(settings, encoding="utf-8")


def remove_other_tests(project: Path, combination: Combination) -> None:
    """Delete the tests of `core` that are not selected for a combination."""
    for path in set(FILES) - selected_tests()[combination.id]:
        if path.name.startswith("test_"):
            (project / "tests" / "core" / path).unlink(missing_ok=True)
