"""The template's source keeps the rules and the budgets of its design, so that it reads as a project."""

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

from tests.answers import MANIFEST, OPTIONS, PROJECT, ROWS, TEMPLATE, UNMENTIONED, as_key, legal_pairs
from tests.conftest import declared

PACKAGE = PROJECT / "src" / "{{cookiecutter.package_name}}"
HOOKS = sorted((TEMPLATE / "hooks").glob("*.py"))
COPIED = MANIFEST["_copy_without_render"]

# Only these may hold a tag: several options have a line in them. Paths are below the project or below its package.
INDEX_FILES = [
    ".env.example",
    ".github/actions/*",
    ".github/workflows/*",
    ".gitlab-ci.yml",
    ".template.yaml",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "compose.dev.yaml",
    "compose.yaml",
    "deploy/nginx/*",
    "deploy/apache/*",
    "deploy/cdn/addresses.conf",
    "docs/*",
    "pyproject.toml",
    "tests/conftest.py",
    "src/{{cookiecutter.package_name}}/__init__.py",
    "src/{{cookiecutter.package_name}}/*/__init__.py",
    "src/{{cookiecutter.package_name}}/config.py",
]

TAG = re.compile(r"#\s*\{%")
TAG_LINE = re.compile(r"\s*# \{% (?P<verb>\w+)(?P<rest>.*?) %\}")
OPENS, CLOSES = ("if", "for"), ("endif", "endfor")
COMPOUND = re.compile(r"\b(and|or|not|in)\b")
# In an image it is root who has a cache.
FOREIGN = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|(?<![\w.}-])/(root(?!/\.cache/)|home|Users|work)/"
)


def text_of(path: Path) -> str:
    """Read a file of the template; nothing, when it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def below(folder: Path) -> list[Path]:
    """All files of a folder that belong to the template."""
    made = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and not made & {*path.parts})


def copied(path: Path) -> bool:
    """Tell whether cookiecutter copies a file as it is."""
    inside = path.relative_to(PROJECT)
    return any(fnmatch(str(part), pattern) for part in (inside, *inside.parents) for pattern in COPIED)


FILES = below(PROJECT)
SOURCES = {path: text_of(path) for path in FILES}
RENDERED = {path: text for path, text in SOURCES.items() if not copied(path)}
TAGGED = {path: text for path, text in RENDERED.items() if TAG.search(text)}
MODULES = [path for path in FILES if path.suffix == ".py"]


def name_of(path: Path) -> str:
    """Name a test after the file that it reads."""
    return str(path.relative_to(TEMPLATE)).replace(PROJECT.name, "project")


def each_file(paths: object) -> pytest.MarkDecorator:
    """Run a test for each file."""
    return pytest.mark.parametrize("path", list(paths), ids=name_of)  # type: ignore[call-overload]


def tracked() -> list[Path]:
    """Everything that git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=TEMPLATE, check=True, capture_output=True, text=True).stdout.split("\0")
    return [TEMPLATE / name for name in names if name and (TEMPLATE / name).is_file()]


@each_file(TAGGED)
def test_tags_stand_alone_and_do_not_nest(path: Path) -> None:
    """A tag is a whole line, opens one level, and asks for one thing by its name."""
    opened: list[str] = []
    for number, line in enumerate(TAGGED[path].splitlines(), 1):
        if not TAG.search(line):
            continue
        tag = TAG_LINE.fullmatch(line)
        assert tag, f"line {number}: a tag stands alone on its line, as `# {{% … %}}`"
        if tag["verb"] in OPENS:
            opened.append(tag["verb"])
        elif tag["verb"] in CLOSES:
            opened.pop()
        assert len(opened) <= 1, f"line {number}: ifs do not nest"
        if tag["verb"] in ("if", "elif"):
            condition = re.sub(r'"[^"]*"', '""', tag["rest"])
            assert not COMPOUND.search(condition), f"line {number}: give this condition a name in cookiecutter.json"


@each_file(TAGGED)
def test_blank_lines_belong_to_their_block(path: Path) -> None:
    """A blank line on both sides of a block would stand twice where the block is gone."""
    lines = ["", *TAGGED[path].splitlines(), ""]
    for number, line in enumerate(lines):
        tag = TAG_LINE.fullmatch(line)
        if tag and tag["verb"] == "if":
            assert lines[number + 1].strip(), f"line {number}: the blank line belongs above `endif`"


@each_file(TAGGED)
def test_only_index_files_hold_tags(path: Path) -> None:
    """Several options may have a line in an index file; elsewhere a value is a file of its own."""
    inside = str(path.relative_to(PROJECT))
    assert any(fnmatch(inside, pattern) for pattern in INDEX_FILES)
    # An `endif` is part of its `if`.
    assert len([tag for tag in TAG_LINE.finditer(TAGGED[path]) if tag["verb"] not in CLOSES]) <= 25


def test_few_kinds_of_files_hold_tags() -> None:
    """Each kind is one more syntax in which a tag has to be a comment."""
    kinds = {path.suffix.replace(".yml", ".yaml") or path.name for path in TAGGED}
    assert len(kinds) <= 10, kinds


def test_no_other_kind_of_tag() -> None:
    """Where nothing is rendered nothing asks to be, and where it is there is one kind of tag."""
    for path, text in SOURCES.items():
        if copied(path):
            assert not re.search(r"\{\{-?\s*cookiecutter|# \{%", text), path
        else:
            assert "{#" not in text, path
            assert not re.search(r"(?<!# )\{%", text), path


def test_tags_ask_for_what_there_is() -> None:
    """A condition on an answer or a value that does not exist would never hold."""
    env = Environment(**{"block_start_string": "# {%"} | MANIFEST["_jinja2_env_vars"], autoescape=True)
    for path, text in RENDERED.items():
        assert meta.find_undeclared_variables(env.parse(text)) <= {"cookiecutter"}, path
        asked = " ".join(re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text))
        for name in re.findall(r"cookiecutter\.(\w+)", asked):
            assert name in MANIFEST, f"{path}: {name}"
        for name, value in re.findall(r'cookiecutter\.(\w+) [=!]= "([^"]*)"', text):
            assert name not in OPTIONS or value in OPTIONS[name], f"{path}: {name} is never {value}"


def test_each_value_has_its_text() -> None:
    """What a file includes is there for each value, and nothing lies there that no file includes."""
    folder = TEMPLATE / "templates"
    texts = {**RENDERED, **{path: text_of(path) for path in below(folder)}}
    included = set()
    for text in texts.values():
        for name in re.findall(r'# \{% include "([^"]+)" %\}', text):
            included.add(folder / name)
        for start, option, end in re.findall(r'# \{% include "([^"]+)" ~ cookiecutter\.(\w+) ~ "([^"]+)" %\}', text):
            values = [str(value) for value in OPTIONS[option]] if option in OPTIONS else ["*"]
            for value in values:
                found = [*folder.glob(f"{start}{value}{end}")]
                assert found, f"{start}{value}{end}"
                included |= {*found}
    assert included == {*below(folder)}


def source_of(module: Path) -> str:
    """The module as Python: outside the package, which imports itself relatively, an import has to name it."""
    text = SOURCES[module]
    return text if PACKAGE in module.parents else text.replace("{{ cookiecutter.package_name }}", "package")


@each_file(MODULES)
def test_modules_parse(path: Path) -> None:
    """With its tags as comments and its names in strings, a module is Python before it is rendered."""
    ast.parse(source_of(path))


def test_modules_are_formatted(tmp_path: Path) -> None:
    """The formatter finds nothing to do in the source either."""
    # A folder in braces is a pattern to ruff, hence the copy.
    for path in MODULES:
        copy = tmp_path / str(path.relative_to(PROJECT)).replace("{{cookiecutter.package_name}}", "package")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source_of(path), encoding="utf-8")
    settings = re.sub(r"(?m)^target-version.*$", "", SOURCES[PROJECT / "pyproject.toml"])
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    command: list[str | Path] = [Path(sys.executable).with_name("ruff"), "format", "--no-cache", "--diff", "."]
    result = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_documents_parse() -> None:
    """The project's settings are TOML before they are rendered."""
    assert declared(PROJECT / "pyproject.toml")


@pytest.mark.parametrize("path", MANIFEST["_files"])
def test_table_of_files(path: str) -> None:
    """Each line of the table names a file of the template and answers that exist, and leaves a choice."""
    assert list(PROJECT.glob(path))
    for name, values in MANIFEST["_files"][path].items():
        asked = OPTIONS.get(name, MANIFEST.get(name))
        assert asked is not None, f"{name} is no question"
        if name in OPTIONS:
            assert set(values) < set(OPTIONS[name])


def strings(tree: ast.AST) -> set[str]:
    """All texts of a program, without its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return {node.value for node in constants if isinstance(node.value, str)}


def lines_of_code(source: str) -> int:
    """Count lines that are neither blank, nor comment, nor docstring."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    starts_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = starts_statement and token.type == tokenize.STRING
        if token.type not in silent and not docstring:
            lines |= {*range(token.start[0], token.end[0] + 1)}
        starts_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT) or (
            starts_statement and token.type in silent
        )
    return len(lines)


def test_hooks_are_small() -> None:
    """What an option needs is data in cookiecutter.json, not code here."""
    assert 0 < sum(lines_of_code(path.read_text(encoding="utf-8")) for path in HOOKS) <= 60


@each_file(HOOKS)
def test_hooks_use_no_package_and_no_network(path: Path) -> None:
    """They run wherever cookiecutter does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in imported}
    assert roots <= sys.stdlib_module_names
    assert not roots & {"asyncio", "ftplib", "http", "smtplib", "socket", "ssl", "subprocess", "urllib", "xmlrpc"}


@each_file(HOOKS)
def test_hooks_name_no_option(path: Path) -> None:
    """An option is data to them: adding one never edits a hook."""
    words = {
        word for text in strings(ast.parse(path.read_text(encoding="utf-8"))) for word in re.findall(r"[\w.-]+", text)
    }
    values = {value for choices in OPTIONS.values() for value in choices if isinstance(value, str)}
    assert not words & (OPTIONS.keys() | values - {"none"})


def test_every_question_has_a_label() -> None:
    """A person reads sentences, not names of variables."""
    prompts = MANIFEST["__prompts__"]
    assert prompts.keys() == {name for name in MANIFEST if not name.startswith("_")}
    for name, values in OPTIONS.items():
        if isinstance(values[0], str):
            assert prompts[name].keys() == {"__prompt__", *values}
            assert all(label.strip() for label in prompts[name].values())
        else:
            assert prompts[name].strip()


def test_every_free_text_has_a_rule() -> None:
    """What a person types is checked before a file is written."""
    typed = {name for name in MANIFEST if not name.startswith("_") and name not in OPTIONS}
    assert MANIFEST["_rules"].keys() == {name for name, *_ in MANIFEST["__try"]} == typed


def test_reserved_names(environment: Path) -> None:
    """A project that has the name of its dependency would hide it."""
    listed = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    found = subprocess.run([environment / "python", "-c", listed], check=True, capture_output=True, text=True).stdout
    modules: dict[str, list[str]] = json.loads(found)
    taken = {name.replace("-", "_") for name in MANIFEST["_reserved"]} | sys.stdlib_module_names
    wanted = {
        re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("-", "_")
        for line in declared(PROJECT / "pyproject.toml")
    }
    imported = {
        module for module, owners in modules.items() if wanted & {owner.lower().replace("-", "_") for owner in owners}
    }
    # What cannot be the name of a package needs no entry.
    assert {name for name in wanted | imported if re.fullmatch(r"[a-z][a-z0-9_]*", name)} <= taken


def test_mentions_are_complete() -> None:
    """Each value says how one recognises it where it was not chosen, or that anyone may name it."""
    mentions = MANIFEST["_mentions"]
    expected = {name: {*map(as_key, values)} for name, values in OPTIONS.items() if name not in UNMENTIONED}
    assert {name: set(patterns) for name, patterns in mentions.items()} == expected
    for patterns in mentions.values():
        for pattern in filter(None, patterns.values()):
            re.compile(pattern)


def test_one_version() -> None:
    """A version has one number and a note on what changed."""
    number = tomllib.loads(text_of(TEMPLATE / "pyproject.toml"))["project"]["version"]
    assert number == MANIFEST["_template_version"]
    versions = re.split(r"(?m)^## ", text_of(TEMPLATE / "CHANGELOG.md"))[1:]
    assert [version for version in versions if version.startswith(f"[{number}] - ")]
    assert all(re.search(r"(?m)^### What a project's owner must do\n\n\S", version) for version in versions)


def test_pins_agree() -> None:
    """requirements.txt was made from requirements.in, and both name the tools that the project pins alike."""
    asked = re.findall(r"(?m)^[\w.-]+==\S+$", text_of(TEMPLATE / "requirements.in"))
    pinned = re.findall(r"(?m)^[\w.-]+==\S+", text_of(TEMPLATE / "requirements.txt"))
    assert asked
    assert {line.lower() for line in asked} <= {line.lower() for line in pinned}
    used = re.findall(r"[\w.-]+==[\d.]+", text_of(PROJECT / "scripts" / "template.sh"))
    assert used
    shared = Counter(line.partition("==")[0] for line in {*asked, *used, *declared(PROJECT / "pyproject.toml")})
    # The project's pytest need not wait for an xdist that goes with it.
    assert [name for name, count in shared.items() if count > 1] == ["pytest"]


def test_no_registry_and_no_machine() -> None:
    """Nothing names a registry's host, which each installation chooses, or a folder of someone's machine."""
    for path in tracked():
        found = FOREIGN.search(text_of(path))
        assert not found, f"{name_of(path)}: {found and found[0]}"


def test_every_legal_pair_is_in_some_row() -> None:
    """Two answers that are allowed together are proved together."""
    pairs = list(legal_pairs())
    missing = [pair for pair in pairs if not any(pair.items() <= row.options.items() for row in ROWS)]
    assert pairs
    assert not missing


def test_rows_are_readable() -> None:
    """Each row has a name of its own, and the texts are all used."""
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert all(re.fullmatch(r"[\w.-]+", row.id) for row in ROWS)
    assert {row.asked("project_name") for row in ROWS} >= {"Zé", "商店 Service", "Blue Shop"}
