"""Tests of the template's source: tags, files, included texts, hooks, pins and the coverage of combinations."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest
from jinja2 import Environment, meta

from tests.conftest import declared_dependencies
from tests.matrix import (
    ALL_VALUES,
    COMBINATIONS,
    MANIFEST,
    OPTIONS,
    PROJECT,
    TEMPLATE,
    VALUE_COVER,
    VOCABULARY,
    WITHOUT_VOCABULARY,
    as_key,
    valid_pairs,
    vocabulary,
)

PACKAGE = PROJECT / "src" / "{{cookiecutter.package_name}}"
HOOKS = sorted((TEMPLATE / "hooks").glob("*.py"))
COPIED = MANIFEST["_copy_without_render"]

# Most options add lines to these files.
BUILD_FILES = [
    ".env.example",
    ".github/workflows/*",
    ".gitlab-ci.yml",
    ".template.yaml",
    "Dockerfile",
    "Makefile",
    "README.md",
    "compose.yaml",
    "deploy/apache/*",
    "deploy/ecs/template.yaml",
    "deploy/lambda/template.yaml",
    "deploy/nginx/*",
    "docs/*",
    "pyproject.toml",
    "src/*/__init__.py",
    "src/*/config.py",
]

# Cookiecutter includes files only from this folder.
INCLUDES = TEMPLATE / "templates"
INCLUDE = re.compile(
    r'# \{% include "(?P<start>[^"]+)"(?: ~ cookiecutter\.(?P<option>\w+) ~ "(?P<end>[^"]+)")?'
    r"(?P<optional> ignore missing)? %\}"
)
TAG = re.compile(r"#\s*\{%")
TAG_LINE = re.compile(r"\s*# \{% (?P<keyword>\w+)(?P<rest>.*?) %\}")
OPENING, CLOSING = ("if", "for"), ("endif", "endfor")
COMPOUND = re.compile(r"\b(and|or|not|in)\b")
# Hosts of package registries, and absolute paths of a machine, except the caches of root in an image.
FOREIGN_NAMES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|(?:deb|ftp|security)[.\w]*[.]debian[.]org|archive[.]ubuntu[.]com|"
    r"(?<![\w.}-])/(root(?!/\.cache/)|home|Users|work)/"
)


def read_text(path: Path) -> str:
    """Return the text of a file, or an empty string if it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder, except files of tools."""
    generated = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and not generated & {*path.parts})


def is_copied(path: Path) -> bool:
    """Return whether cookiecutter copies a file without rendering it."""
    inside = path.relative_to(PROJECT)
    return any(fnmatch(str(part), pattern) for part in (inside, *inside.parents) for pattern in COPIED)


FILES = files_in(PROJECT)
SOURCES = {path: read_text(path) for path in FILES}
RENDERED = {path: text for path, text in SOURCES.items() if not is_copied(path)}
TAGGED = {path: text for path, text in RENDERED.items() if TAG.search(text)}
MODULES = [path for path in FILES if path.suffix == ".py"]
CORE_TESTS = [path for path in files_in(TEMPLATE / "tests" / "core") if path.suffix == ".py"]


def relative_name(path: Path) -> str:
    """Return the path of a file relative to the template, as the ID of a test."""
    return str(path.relative_to(TEMPLATE)).replace(PROJECT.name, "project")


def parametrize_files(paths: object) -> pytest.MarkDecorator:
    """Run a test for each file."""
    return pytest.mark.parametrize("path", list(paths), ids=relative_name)  # type: ignore[call-overload]


def tracked_files() -> list[Path]:
    """Return all files that git tracks or that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=TEMPLATE, check=True, capture_output=True, text=True).stdout.split("\0")
    return [TEMPLATE / name for name in names if name and (TEMPLATE / name).is_file()]


@parametrize_files(TAGGED)
def test_tags_are_lines_and_do_not_nest(path: Path) -> None:
    """A tag is a line of its own, conditions do not nest, and each condition has one variable."""
    open_tags: list[str] = []
    for number, line in enumerate(TAGGED[path].splitlines(), 1):
        if not TAG.search(line):
            continue
        tag = TAG_LINE.fullmatch(line)
        assert tag, f"line {number}: a tag is a line of its own, as `# {{% … %}}`"
        if tag["keyword"] in OPENING:
            open_tags.append(tag["keyword"])
        elif tag["keyword"] in CLOSING:
            open_tags.pop()
        assert len(open_tags) <= 1, f"line {number}: conditions must not nest"
        if tag["keyword"] in ("if", "elif"):
            condition = re.sub(r'"[^"]*"', '""', tag["rest"])
            assert not COMPOUND.search(condition), f"line {number}: add a private variable to cookiecutter.json"


@parametrize_files(TAGGED)
def test_blank_lines_are_inside_blocks(path: Path) -> None:
    """A blank line that separates a block is above `endif`; otherwise a project without the block has two."""
    lines = ["", *TAGGED[path].splitlines(), ""]
    for number, line in enumerate(lines):
        tag = TAG_LINE.fullmatch(line)
        if tag and tag["keyword"] == "if":
            assert lines[number + 1].strip(), f"line {number}: move the blank line above `endif`"


@parametrize_files(TAGGED)
def test_files_have_few_tags(path: Path) -> None:
    """A file has at most 12 tags, or 46 in `BUILD_FILES`, because many tags make it hard to read."""
    inside = str(path.relative_to(PROJECT))
    limit = 46 if any(fnmatch(inside, pattern) for pattern in BUILD_FILES) else 12
    assert len([tag for tag in TAG_LINE.finditer(TAGGED[path]) if tag["keyword"] not in CLOSING]) <= limit


def test_tags_occur_in_few_formats() -> None:
    """Tags are comments, so each file type with tags is another syntax."""
    file_types = {path.name.removesuffix(".example").replace(".yml", ".yaml").rpartition(".")[2] for path in TAGGED}
    assert len(file_types) <= 13, file_types


def test_no_other_template_syntax() -> None:
    """Copied files have no template syntax, and rendered files have only tags in comments."""
    for path, text in SOURCES.items():
        if is_copied(path):
            assert not re.search(r"\{\{-?\s*cookiecutter|# \{%", text), path
        else:
            assert "{#" not in text, path
            assert not re.search(r"(?<!# )\{%", text), path


def test_tags_use_existing_variables_and_values() -> None:
    """Each variable in a tag exists, and each value is a value of its option."""
    env = Environment(**{"block_start_string": "# {%"} | MANIFEST["_jinja2_env_vars"], autoescape=True)
    for path, text in RENDERED.items():
        assert meta.find_undeclared_variables(env.parse(text)) <= {"cookiecutter"}, path
        expressions = " ".join(re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text))
        for name in re.findall(r"cookiecutter\.(\w+)", expressions):
            assert name in MANIFEST, f"{path}: {name}"
        for name, value in re.findall(r'cookiecutter\.(\w+) [=!]= "([^"]*)"', text):
            assert name not in OPTIONS or value in OPTIONS[name], f"{path}: {name} is never {value}"


def test_every_included_text_exists() -> None:
    """Each include finds a file, and each file of templates/ is included.

    Only includes for which some values have no file use `ignore missing`, so a misspelled name fails.
    """
    texts = {**RENDERED, **{path: read_text(path) for path in files_in(INCLUDES)}}
    included: set[Path] = set()
    for path, text in texts.items():
        for tag in re.findall(r"# \{% include .*", text):
            include = INCLUDE.fullmatch(tag)
            assert include, f"{path}: {tag}"
            values = [str(value) for value in OPTIONS.get(include["option"], ["*" if include["option"] else ""])]
            found = {value: [*INCLUDES.glob(f"{include['start']}{value}{include['end'] or ''}")] for value in values}
            missing = [value for value, files in found.items() if not files]
            assert len(missing) < len(values), f"{path}: {tag} finds no file"
            assert bool(missing) == bool(include["optional"]), f"{path}: {tag}: no file for {missing}"
            included |= {file for files in found.values() for file in files}
    assert included == {*files_in(INCLUDES)}


def test_included_texts_are_in_folder_of_value() -> None:
    """`templates/options/OPTION/VALUE/` has exactly the texts of a value: no file is empty, each value exists."""
    for path in files_in(INCLUDES):
        assert read_text(path).strip(), f"{path} is empty: delete it"
        kind, *folders = path.relative_to(INCLUDES).parent.parts
        if kind == "options":
            option, value = folders
            assert value in ["shared", *map(str, OPTIONS[option])], path
        else:
            assert (kind, folders) == ("shared", []), path


def python_source(module: Path) -> str:
    """Return the source of a module as valid Python: imports outside of the package contain its name."""
    text = read_text(module)
    return text if PACKAGE in module.parents else text.replace("{{ cookiecutter.package_name }}", "package")


@parametrize_files([*MODULES, *CORE_TESTS])
def test_unrendered_modules_parse(path: Path) -> None:
    """Each module is valid Python before it is rendered."""
    ast.parse(python_source(path))


def without_tags_between_imports(source: str) -> str:
    """Remove the tags around imports, because the formatter would add blank lines next to them."""
    lines = source.splitlines(keepends=True)
    edges = ("from ", "import ", ")", "# {%")
    return "".join(
        line
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False)
        if not (line.startswith("# {%") and before.startswith(edges) and (after.startswith(edges) or not after.strip()))
    )


def test_unrendered_modules_are_formatted(tmp_path: Path) -> None:
    """`ruff format` changes no module before it is rendered."""
    # The modules are copied, because ruff interprets a folder name in braces as a pattern.
    for path in [*MODULES, *CORE_TESTS]:
        copy = tmp_path / str(path.relative_to(PROJECT if path in MODULES else TEMPLATE)).replace(
            "{{cookiecutter.package_name}}", "package"
        )
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(without_tags_between_imports(python_source(path)), encoding="utf-8")
    settings = re.sub(r"(?m)^target-version.*$", "", SOURCES[PROJECT / "pyproject.toml"])
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    command: list[str | Path] = [Path(sys.executable).with_name("ruff"), "format", "--no-cache", "--diff", "."]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_unrendered_pyproject_parses() -> None:
    """pyproject.toml of the project is valid TOML before it is rendered."""
    assert declared_dependencies(PROJECT / "pyproject.toml")


@pytest.mark.parametrize("path", MANIFEST["_files"])
def test_file_table_is_valid(path: str) -> None:
    """Each entry of `_files` has an existing file, an existing variable, and not all values of an option."""
    assert list(PROJECT.glob(path))
    for name, values in MANIFEST["_files"][path].items():
        known = OPTIONS.get(name, MANIFEST.get(name))
        assert known is not None, f"{name} is not a question or variable"
        if name in OPTIONS:
            assert set(values) < set(OPTIONS[name])


def strings(tree: ast.AST) -> set[str]:
    """Return all string constants of a module, except docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return {node.value for node in constants if isinstance(node.value, str)}


def lines_of_code(source: str) -> int:
    """Return the number of lines that are not blank, a comment or a docstring."""
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    starts_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = starts_statement and token.type == tokenize.STRING
        if token.type not in ignored and not docstring:
            lines |= {*range(token.start[0], token.end[0] + 1)}
        starts_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT) or (
            starts_statement and token.type in ignored
        )
    return len(lines)


def test_hooks_have_at_most_90_lines() -> None:
    """Options are data in cookiecutter.json, not code in hooks."""
    assert 0 < sum(lines_of_code(path.read_text(encoding="utf-8")) for path in HOOKS) <= 90


@parametrize_files(HOOKS)
def test_hooks_import_only_standard_library(path: Path) -> None:
    """Hooks import no packages and no network modules, so they run wherever cookiecutter runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in imported}
    assert roots <= sys.stdlib_module_names
    assert not roots & {"asyncio", "ftplib", "http", "smtplib", "socket", "ssl", "subprocess", "urllib", "xmlrpc"}


@parametrize_files(HOOKS)
def test_hooks_name_no_option(path: Path) -> None:
    """A new option needs no change of a hook."""
    words = {
        word for text in strings(ast.parse(path.read_text(encoding="utf-8"))) for word in re.findall(r"[\w.-]+", text)
    }
    values = {value for choices in OPTIONS.values() for value in choices if isinstance(value, str)}
    assert not words & (OPTIONS.keys() | values - {"none"})


def test_every_question_has_a_label() -> None:
    """Each question and each value has a label for the prompts."""
    prompts = MANIFEST["__prompts__"]
    assert prompts.keys() == {name for name in MANIFEST if not name.startswith("_")}
    for name, values in OPTIONS.items():
        if isinstance(values[0], str):
            assert prompts[name].keys() == {"__prompt__", *values}
            assert all(label.strip() for label in prompts[name].values())
        else:
            assert prompts[name].strip()


def test_every_free_text_has_a_validator() -> None:
    """Each free text has a validator and suggestions."""
    free_texts = {name for name in MANIFEST if not name.startswith("_") and name not in OPTIONS}
    assert MANIFEST["_validators"].keys() == {name for name, *_ in MANIFEST["__suggestions"]} == free_texts


def test_dependencies_are_reserved_names(venv_bin: Path) -> None:
    """No project can have the name of a dependency, whose modules it would hide."""
    script = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    found = subprocess.run([venv_bin / "python", "-c", script], check=True, capture_output=True, text=True).stdout
    modules: dict[str, list[str]] = json.loads(found)
    reserved = {name.replace("-", "_") for name in MANIFEST["_reserved_names"]} | sys.stdlib_module_names
    dependencies = {
        re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("-", "_")
        for line in declared_dependencies(PROJECT / "pyproject.toml")
    }
    imported = {
        module
        for module, owners in modules.items()
        if dependencies & {owner.lower().replace("-", "_") for owner in owners}
    }
    # A name that is not valid for a package needs no entry.
    assert {name for name in dependencies | imported if re.fullmatch(r"[a-z][a-z0-9_]*", name)} <= reserved


def test_vocabulary_is_complete() -> None:
    """tests/vocabulary.json has words for each value except `none` and `false`."""
    expected = {
        name: {*map(as_key, values)} - {"none", "false"}
        for name, values in OPTIONS.items()
        if name not in WITHOUT_VOCABULARY
    }
    assert {name: {*words} - {"shared"} for name, words in VOCABULARY.items()} == expected
    for option, values in OPTIONS.items():
        for value in values:
            re.compile(vocabulary(option, value))


def test_version_has_changelog_entry() -> None:
    """pyproject.toml and cookiecutter.json have the same version, which has a section in the changelog."""
    number = tomllib.loads(read_text(TEMPLATE / "pyproject.toml"))["project"]["version"]
    assert number == MANIFEST["_template_version"]
    versions = re.split(r"(?m)^## ", read_text(TEMPLATE / "CHANGELOG.md"))[1:]
    assert [version for version in versions if version.startswith(f"[{number}] - ")]
    assert all(re.search(r"(?m)^### What a project's owner must do\n\n\S", version) for version in versions)


def test_pinned_versions_agree() -> None:
    """requirements.txt matches requirements.in, and both pin the same versions as projects."""
    required = re.findall(r"(?m)^[\w.-]+==\S+$", read_text(TEMPLATE / "requirements.in"))
    pinned = re.findall(r"(?m)^[\w.-]+==\S+", read_text(TEMPLATE / "requirements.txt"))
    assert required
    assert {line.lower() for line in required} <= {line.lower() for line in pinned}
    used = re.findall(r"[\w.-]+==[\d.]+", read_text(PROJECT / "scripts" / "update_from_template.sh"))
    assert used
    shared = Counter(
        line.partition("==")[0] for line in {*required, *used, *declared_dependencies(PROJECT / "pyproject.toml")}
    )
    # Projects may use a newer pytest, because they do not use xdist.
    assert [name for name, count in shared.items() if count > 1] == ["pytest"]


def test_make_new_pins_are_a_subset() -> None:
    """requirements-new.txt is a subset of requirements.txt with the same hashes; requirements.in has its command."""
    entry = re.compile(r"(?m)^\S+==.*(?:\n {4}--hash=.*)+")
    new, whole = (entry.findall(read_text(TEMPLATE / name)) for name in ("requirements-new.txt", "requirements.txt"))
    assert any(text.startswith("cookiecutter==") for text in new)
    assert {*new} <= {*whole}


def test_only_images_and_the_earlier_template_are_binary() -> None:
    """No package or other output of a tool is committed by mistake."""
    names = {relative_name(path) for path in tracked_files() if path.stat().st_size and not read_text(path)}
    images = {relative_name(path) for path in (TEMPLATE / "docs" / "images").glob("*.png")}
    assert names == {*images, "tests/data/template-0.2.0.tar.xz"}


def test_no_registry_hosts_or_absolute_paths() -> None:
    """No file contains the host of a package registry or an absolute path of a machine."""
    for path in tracked_files():
        found = FOREIGN_NAMES.search(read_text(path))
        assert not found, f"{relative_name(path)}: {found and found[0]}"


def test_every_valid_pair_is_tested() -> None:
    """Each two values that do not conflict occur together in a combination."""
    pairs = list(valid_pairs())
    missing = [
        pair for pair in pairs if not any(pair.items() <= combination.options.items() for combination in COMBINATIONS)
    ]
    assert pairs
    assert not missing


def test_every_value_is_in_the_cover() -> None:
    """The few combinations of tests that take long have each value of each option."""
    assert {value for combination in VALUE_COVER for value in combination.options.items()} == ALL_VALUES
    assert len(VALUE_COVER) < len(COMBINATIONS) / 3


def test_combinations_have_unique_names() -> None:
    """Each combination has a unique, readable ID, and the combinations use all free texts."""
    assert len({combination.id for combination in COMBINATIONS}) == len(COMBINATIONS)
    assert all(re.fullmatch(r"[\w.-]+", combination.id) for combination in COMBINATIONS)
    assert {combination.free_text("project_name") for combination in COMBINATIONS} >= {
        "Zé",
        "商店 Service",
        "Blue Shop",
    }
