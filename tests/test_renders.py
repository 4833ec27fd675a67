"""Every row renders a project that is complete, clean, and only what was asked for."""

import ast
import configparser
import fcntl
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.answers import MANIFEST, OPTIONS, UNMENTIONED, Row, as_key, each
from tests.conftest import Run

MAY_BE_EMPTY = ("__init__.py", "py.typed")
# The name of a question is a leftover wherever it follows `cookiecutter.`; the name of the tool is not.
LEFTOVER = re.compile(r"# ?\{%|\{\{-? ?cookiecutter|cookiecutter\.(" + "|".join(MANIFEST) + r")\b")


class Tolerant(yaml.SafeLoader):
    """Reads values with tags of their own, which a provider's language may have, as what they hold."""


Tolerant.add_multi_constructor("!", lambda _loader, _tag, node: node.value)
PARSERS: dict[str, Callable[[str], object]] = {
    ".cfg": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.load_all(text, Tolerant)),
    ".yml": lambda text: list(yaml.load_all(text, Tolerant)),
}
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
SERVERS_ENTRY = "wsgi"
SAY_WHAT_THEY_MUST = (".template.yaml", "LICENSE")  # the answers, and the words of a license


def files(project: Path) -> Iterator[tuple[str, str]]:
    """Each file of a project: its path and its text."""
    for path in sorted(project.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(project)), path.read_text(encoding="utf-8", errors="replace")


@each()
def test_nothing_is_empty(project: Path) -> None:
    """What was pruned leaves no folder behind, and no file is there for nothing."""
    for path in project.rglob("*"):
        if path.is_dir():
            assert any(path.iterdir()), path
        elif path.name not in MAY_BE_EMPTY:
            assert path.read_bytes().strip(), path


@each()
def test_nothing_of_the_template_is_left(row: Row, cookies: Cookies) -> None:
    """The project does not look like a template; baked without the texts of the row, some of which do."""
    for path, text in files(cookies.bake(extra_context=row.options).project_path):
        found = LEFTOVER.search(f"{path}\n{text}")
        assert not found, f"{path}: {found and found[0]}"
        assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{path}: trailing space"


# A line of the table of answers.
ANSWERS = re.compile(rf"^\| ({'|'.join(OPTIONS)}) \|.*$", re.MULTILINE)


@each()
def test_names_only_what_was_chosen(row: Row, project: Path) -> None:
    """Who chose one database does not read of another."""
    unwanted = {
        f"{option}={as_key(value)}": pattern
        for option, values in OPTIONS.items()
        if option not in UNMENTIONED
        for value in values
        if value != row.options[option] and (pattern := MANIFEST["_mentions"][option][as_key(value)])
    }
    chosen = [MANIFEST["_mentions"][name][as_key(row.options[name])] for name in OPTIONS if name not in UNMENTIONED]
    wanted = "|".join(pattern for pattern in chosen if pattern) or "(?!)"
    for path, text in files(project):
        if path in SAY_WHAT_THEY_MUST:
            continue
        # The README's table of answers names the options.
        said = re.sub(ANSWERS, "", f"{path}\n{text}")
        for value, pattern in unwanted.items():
            for found in re.finditer(pattern, said, re.IGNORECASE):
                assert re.fullmatch(wanted, found[0], re.IGNORECASE), f"{path} names {found[0]!r}, which is {value}"


def check(*command: str | Path, cwd: Path, environment: Path, run: Run, **variables: str) -> None:
    """Run a program of the shared environment, which has to find nothing."""
    program, *arguments = command
    result = run(environment / program, *arguments, cwd=cwd, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


@each()
def test_is_formatted(project: Path, environment: Path, run: Run) -> None:
    """The formatter finds nothing to do."""
    check("ruff", "format", "--diff", "--no-cache", cwd=project, environment=environment, run=run)


@each()
def test_lints(project: Path, environment: Path, run: Run) -> None:
    """The linter finds nothing, with the project's own rules."""
    check("ruff", "check", "--no-cache", cwd=project, environment=environment, run=run)


@each()
def test_types(project: Path, environment: Path, run: Run, request: pytest.FixtureRequest) -> None:
    """The types hold, as strictly as the project itself asks for."""
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"]
    assert request.config.cache
    # Most of the work is what projects depend on. Modules of a project differ from row to row, and mypy notices that;
    # but two processes must not write at once.
    cache = request.config.cache.mkdir("mypy")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check("mypy", "--cache-dir", cache, cwd=project, environment=environment, run=run)


@each()
def test_documents_parse(project: Path) -> None:
    """Settings are read by programs that say little about a broken line."""
    for path, text in files(project):
        if parse := PARSERS.get(Path(path).suffix):
            parse(text)


@each()
def test_links_resolve(project: Path) -> None:
    """A page links to files that this project has, and to headings of the page."""
    for path, text in files(project):
        if Path(path).suffix != ".md":
            continue
        headings = re.findall(r"(?m)^#+ (.*?)\s*$", text)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        prose = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)
        for target in (inline or reference for inline, reference in LINK.findall(prose)):
            address, _, anchor = unquote(target).partition("#")
            if ":" in address:
                continue
            assert (project / path).parent.joinpath(address).exists(), f"{path} links to {target}"
            assert address or anchor in anchors, f"{path} links to #{anchor}"


@each()
def test_depends_on_what_it_imports(project: Path, environment: Path, run: Run) -> None:
    """Declared is what is imported, no less and no more; what is only run is named in the project's own settings."""
    check("deptry", "--no-ansi", ".", cwd=project, environment=environment, run=run)


def imports(path: Path, name: str) -> Iterator[str]:
    """The full names that a module imports; a name may be a module or something inside one."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@each()
def test_no_module_is_forgotten(project: Path) -> None:
    """Each module is reached from the one that servers import; tests do not count."""
    source = project / "src"
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    (package,) = (name for name in modules if "." not in name)
    reached: set[str] = set()
    waiting = [f"{package}.{SERVERS_ENTRY}"]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in reached:
            reached.add(name)
            waiting += [*imports(modules[name], name), name.rpartition(".")[0]]
    # Migrations are run by their own tool, which imports the models.
    assert modules.keys() == reached


@each()
def test_free_text_arrives_as_it_was_typed(row: Row, project: Path) -> None:
    """A quote, a backslash, an accent or an emoji breaks nothing."""
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["description"] == row.asked("description")
    assert metadata["authors"] == [{"name": row.asked("author_name"), "email": row.asked("author_email")}]


@each()
def test_shell_reads_its_settings(project: Path) -> None:
    """`.env` and `.env.example` are lines of NAME=value and comments, with the same names."""
    names = []
    for name in (".env.example", ".env"):
        lines = (project / name).read_text(encoding="utf-8").splitlines()
        assert all(re.fullmatch(r"|#.*|[A-Z_][A-Z0-9_]*=.*", line) for line in lines), name
        names.append([line.partition("=")[0] for line in lines if line and not line.startswith("#")])
    assert names[0] == names[1]


@each()
def test_verbs_are_listed(project: Path) -> None:
    """`make` alone lists the verbs, so its file parses too."""
    result = subprocess.run(["make"], cwd=project, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert {"make run", "make test", "make check"} <= {*re.findall(r"make \w+", result.stdout)}
