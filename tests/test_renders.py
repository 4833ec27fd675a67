"""Tests of each rendered combination: files, format, lint, types, links, dependencies and vocabulary."""

import ast
import configparser
import fcntl
import hashlib
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.code_cover import code_cover, code_of, lines_of, name_in_project
from tests.conftest import Run
from tests.matrix import (
    COMBINATIONS,
    MANIFEST,
    OPTIONS,
    Combination,
    Value,
    as_key,
    parametrize_combinations,
    values_of,
    vocabulary,
)

STRICT = Path(__file__).with_name("strict")
# The mypy settings of a project that allow tests without types.
TEST_OVERRIDES = re.compile(r'(?m)^\[\[tool\.mypy\.overrides\]\]\nmodule = "tests\.\*"\n(.+\n)+')
MAY_BE_EMPTY = ("__init__.py", "py.typed")
# Template syntax. The name of the tool alone, without the name of a question, is allowed.
TEMPLATE_SYNTAX = re.compile(r"# ?\{%|\{\{-? ?cookiecutter|cookiecutter\.(" + "|".join(MANIFEST) + r")\b")


class UnknownTagLoader(yaml.SafeLoader):
    """YAML loader that ignores unknown tags, which cloud providers define."""


UnknownTagLoader.add_multi_constructor("!", lambda _loader, _tag, node: node.value)
PARSERS: dict[str, Callable[[str], object]] = {
    ".cfg": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.load_all(text, UnknownTagLoader)),
    ".yml": lambda text: list(yaml.load_all(text, UnknownTagLoader)),
}
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
# Servers and workers import these modules by name.
ENTRY_POINTS = (
    "wsgi",
    "worker",
    "celeryconfig",
    "cron_config",
    "core.tasks.celery_beat",
    "lambda_commands",
    "lambda_handler",
)
# These files contain the answers and the text of the license.
VOCABULARY_EXEMPT = (".template.yaml", "LICENSE")


def read_files(project: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of a project."""
    for path in sorted(project.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(project)), path.read_text(encoding="utf-8", errors="replace")


@parametrize_combinations()
def test_project_has_no_empty_files(project: Path) -> None:
    """No folder is empty, and no file is empty except those in `MAY_BE_EMPTY`."""
    for path in project.rglob("*"):
        if path.is_dir():
            assert any(path.iterdir()), path
        elif path.name not in MAY_BE_EMPTY:
            assert path.read_bytes().strip(), path


@parametrize_combinations()
def test_project_has_no_template_syntax(combination: Combination, cookies: Cookies) -> None:
    """No file has template syntax or trailing spaces.

    The project is rendered without the texts of the combination, because some of them contain template syntax.
    """
    for path, text in read_files(cookies.bake(extra_context=combination.options).project_path):
        match = TEMPLATE_SYNTAX.search(f"{path}\n{text}")
        assert not match, f"{path}: {match and match[0]}"
        assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{path}: trailing space"


# Row of the table of answers in docs/template-updates.md, which names the options.
ANSWER_ROW = re.compile(rf"^\| ({'|'.join(OPTIONS)}) \|.*$", re.MULTILINE)


WORDS = [
    (option, value, re.compile(pattern, re.IGNORECASE))
    for option, values in OPTIONS.items()
    for value in values
    if (pattern := vocabulary(option, value))
]


@cache
def words_of(line: str) -> list[tuple[str, Value, str]]:
    """Return the words of values in a line, each with its option and value. Projects have most lines in common."""
    return [(option, value, found[0]) for option, value, pattern in WORDS for found in pattern.finditer(line)]


@parametrize_combinations()
def test_project_names_only_chosen_values(combination: Combination, project: Path) -> None:
    """The project contains no word of a value that was not chosen, such as another database."""
    chosen = [vocabulary(name, value) for name, value in combination.options.items()]
    allowed = "|".join(pattern for pattern in chosen if pattern) or "(?!)"
    for path, text in read_files(project):
        if path in VOCABULARY_EXEMPT:
            continue
        searched = re.sub(ANSWER_ROW, "", f"{path}\n{text}")
        for line in searched.splitlines(keepends=True):
            for option, value, word in words_of(line):
                assert value == combination.options[option] or re.fullmatch(allowed, word, re.IGNORECASE), (
                    f"{path} contains {word!r}, a word of {option}={as_key(value)}"
                )


def check(*command: str | Path, cwd: Path, venv_bin: Path, run: Run, **variables: str) -> None:
    """Run a program of the shared environment, which must succeed."""
    program, *arguments = command
    result = run(venv_bin / program, *arguments, cwd=cwd, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations()
def test_project_is_formatted(project_with_core_tests: Path, venv_bin: Path, run: Run) -> None:
    """`ruff format` changes no file."""
    check("ruff", "format", "--diff", "--no-cache", cwd=project_with_core_tests, venv_bin=venv_bin, run=run)


def read_pyproject(project: Path) -> dict[str, Any]:
    """Return the content of pyproject.toml."""
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))


@parametrize_combinations()
def test_project_passes_lint(project_with_core_tests: Path, venv_bin: Path, run: Run) -> None:
    """`ruff check` reports nothing, with the rules of the project and with the strict rules of the template."""
    check("ruff", "check", "--no-cache", cwd=project_with_core_tests, venv_bin=venv_bin, run=run)
    version = read_pyproject(project_with_core_tests)["tool"]["ruff"]["target-version"]
    arguments = ("--config", STRICT / "ruff.toml", "--target-version", version)
    check("ruff", "check", "--no-cache", *arguments, cwd=project_with_core_tests, venv_bin=venv_bin, run=run)


@parametrize_combinations(code_cover())
def test_project_passes_type_check(
    project_with_core_tests: Path, venv_bin: Path, run: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Mypy reports nothing in strict mode, also in tests, where the settings of a project allow missing types.

    These combinations have every value of every option, and every line of Python that some combination has.
    """
    settings = read_pyproject(project_with_core_tests)["tool"]["mypy"]
    assert settings["strict"]
    strict, overrides = TEST_OVERRIDES.subn(
        "", (project_with_core_tests / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert overrides == 1
    (tmp_path / "strict.toml").write_text(strict, encoding="utf-8")
    assert request.config.cache
    # Combinations share a cache, because mypy needs most of the time for dependencies. It checks these again if a
    # setting that is not for single modules differs. Only one process may write to a cache at a time.
    common = json.dumps([value for name, value in sorted(settings.items()) if name != "overrides"])
    cache = request.config.cache.mkdir(f"mypy-{hashlib.sha256(common.encode()).hexdigest()[:12]}")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        arguments = ("--config-file", tmp_path / "strict.toml", "--cache-dir", cache)
        check("mypy", *arguments, cwd=project_with_core_tests, venv_bin=venv_bin, run=run)


def test_type_check_reads_each_value_and_each_line() -> None:
    """The combinations whose types are checked have every value, and every part of a Python file that any has."""
    checked, all_parts = (
        {part for combination in combinations for part in (*values_of(combination), *code_of(combination))}
        for combinations in (code_cover(), COMBINATIONS)
    )
    assert checked == all_parts


@parametrize_combinations()
def test_code_is_predicted(combination: Combination, project_with_core_tests: Path) -> None:
    """The Python files of a project, and their lines, are those that the selection for the type check expects."""
    expected: dict[str, set[int]] = {}
    for path, part in code_of(combination):
        expected.setdefault(path, set()).add(part)
    (package,) = (path.name for path in project_with_core_tests.glob("src/*"))
    names = {path: name_in_project(Path(path), package) for path in expected}
    assert {*names.values()} == {
        str(path.relative_to(project_with_core_tests)) for path in project_with_core_tests.rglob("*.py")
    }
    for path, parts in expected.items():
        lines = [line for line in lines_of(Path(path), parts) if "{{" not in line]
        rendered = (project_with_core_tests / names[path]).read_text(encoding="utf-8").splitlines()
        following = iter(rendered)
        assert all(line in following for line in lines), path
        assert not {*Path(path).read_text(encoding="utf-8").splitlines()} & {*rendered} - {*lines}, path


@parametrize_combinations()
def test_data_files_parse(project: Path) -> None:
    """All JSON, TOML, YAML and INI files are valid."""
    for path, text in read_files(project):
        if parse := PARSERS.get(Path(path).suffix):
            parse(text)


@parametrize_combinations()
def test_links_resolve(project: Path) -> None:
    """Each relative link in a document leads to a file of the project or to a heading of the document."""
    for path, text in read_files(project):
        if Path(path).suffix != ".md":
            continue
        headings = re.findall(r"(?m)^#+ (.*?)\s*$", text)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        prose = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)
        for target in (inline or reference for inline, reference in LINK.findall(prose)):
            link, _, anchor = unquote(target).partition("#")
            if ":" in link:
                continue
            assert (project / path).parent.joinpath(link).exists(), f"{path} links to {target}"
            assert link or anchor in anchors, f"{path} links to #{anchor}"


@parametrize_combinations()
def test_dependencies_match_imports(project: Path, venv_bin: Path, run: Run) -> None:
    """Deptry finds no missing and no unused dependency; pyproject.toml lists those that are only run."""
    check("deptry", "--no-ansi", ".", cwd=project, venv_bin=venv_bin, run=run)


def imports(path: Path, name: str) -> Iterator[str]:
    """Yield the full names of all imports of a module, of modules and of names inside them."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@parametrize_combinations()
def test_all_modules_are_imported(project: Path) -> None:
    """Each module is imported, directly or indirectly, by the entry points of servers and workers."""
    source = project / "src"
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    (package,) = (name for name in modules if "." not in name)
    reachable: set[str] = set()
    pending = [f"{package}.{name}" for name in ENTRY_POINTS]
    if (env := project / "migrations" / "env.py").exists():
        pending += imports(env, "env")
    # Migrations of MongoDB are found by their names.
    pending += [name for name in modules if name.startswith(f"{package}.migrations.")]
    while pending:
        name = pending.pop()
        if name in modules and name not in reachable:
            reachable.add(name)
            pending += [*imports(modules[name], name), name.rpartition(".")[0]]
    assert modules.keys() == reachable


@parametrize_combinations()
def test_free_texts_are_unchanged(combination: Combination, project: Path) -> None:
    """Texts with quotes, backslashes, accents or emojis are equal in pyproject.toml."""
    metadata = read_pyproject(project)["project"]
    assert metadata["description"] == combination.free_text("description")
    assert metadata["authors"] == [
        {"name": combination.free_text("author_name"), "email": combination.free_text("author_email")}
    ]


@parametrize_combinations()
def test_env_files_have_the_same_names(project: Path) -> None:
    """`.env` and `.env.example` consist of comments and NAME=value lines, with the same names."""
    names = []
    for name in (".env.example", ".env"):
        lines = (project / name).read_text(encoding="utf-8").splitlines()
        assert all(re.fullmatch(r"|#.*|[A-Z_][A-Z0-9_]*=.*", line) for line in lines), name
        names.append([line.partition("=")[0] for line in lines if line and not line.startswith("#")])
    assert names[0] == names[1]


@parametrize_combinations()
def test_make_lists_targets(project: Path) -> None:
    """`make` without a target lists the targets."""
    result = subprocess.run(["make"], cwd=project, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert {"make run", "make test", "make check"} <= {*re.findall(r"make \w+", result.stdout)}
