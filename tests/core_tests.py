"""Tests of a project's `core` package: tests/core is rendered like the template and copied over a project."""

import json
from pathlib import Path

from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

from tests.matrix import TEMPLATE, Combination

CORE_TESTS = Path(__file__).with_name("core")
MODULES = TEMPLATE / "{{cookiecutter.project_slug}}" / "src" / "{{cookiecutter.package_name}}" / "core"
# Conditions of files whose name names no module, in the form of `_files` in cookiecutter.json.
CONDITIONS = json.loads((CORE_TESTS / "files.json").read_text(encoding="utf-8"))
FILES = [path.relative_to(CORE_TESTS) for path in sorted(CORE_TESTS.rglob("*.py")) if "__pycache__" not in path.parts]


def has_module(test: Path, project: Path) -> bool:
    """Return whether the project has the module, and the package, that a test or fixture is named after.

    `cache/test_redis.py` tests `core/cache/redis.py`. A test without a module of its name is for all projects.
    """
    (core,) = project.glob("src/*/core")
    module = test.with_name(test.name.removeprefix("test_"))
    names = [module, *test.parents] if test.parts[0] != "fixtures" else [Path("*") / module.name]
    return all(any(core.glob(str(name))) for name in names if name.name and any(MODULES.glob(str(name))))


def add_core_tests(project: Path, combination: Combination) -> None:
    """Write the tests of the components that a rendered project has to its `tests/core`."""
    context = generate_context(context_file=str(TEMPLATE / "cookiecutter.json"), extra_context=combination.context)
    answers = prompt_for_config(context, no_input=True)
    environment = StrictEnvironment(
        context={"cookiecutter": answers}, keep_trailing_newline=True, **answers["_jinja2_env_vars"]
    )
    for path in FILES:
        conditions = [CONDITIONS[str(part)] for part in (path, *path.parents) if str(part) in CONDITIONS]
        if has_module(path, project) and all(
            answers[name] in values for condition in conditions for name, values in condition.items()
        ):
            text = environment.from_string((CORE_TESTS / path).read_text(encoding="utf-8"))
            target = project / "tests" / "core" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.render(cookiecutter=answers), encoding="utf-8", newline="\n")
    # The project's own coverage settings exclude `core`.
    settings = (
        "[run]\nsource = src\nomit = src/*/lambda_*.py\nbranch = true\n"
        "[report]\nfail_under = 98\nshow_missing = true\nskip_covered = true\n"
    )
    (project / ".coveragerc").write_text(settings, encoding="utf-8")
