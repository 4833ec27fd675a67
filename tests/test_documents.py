"""A project's own documents tell what is so: each command in them is there, and each picture is of this project."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.answers import DEFAULT, Row, Value, each
from tests.conftest import Run

PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/incidents.md", "docs/performance.md", "docs/runbook.md")
# Commands of Compose that take names of services, and the options of theirs that take a value.
TAKE_SERVICES = {"build", "logs", "ps", "pull", "restart", "stats", "stop", "up"}
RUN_IN_ONE = {"exec", "run"}
OTHERS = {"config", "down"}
WITH_VALUE = {"--scale", "--since", "--tail", "--timeout"}
# Lists all commands of an application, each with its groups.
LIST = """
import click

from {package}.wsgi import app


def walk(group, prefix):
    for name in group.list_commands(None):
        command = group.get_command(click.Context(group), name)
        print(*prefix, name)
        if isinstance(command, click.Group):
            walk(command, [*prefix, name])


walk(app.cli, [])
"""
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
BUILT_IN = {"routes", "run", "shell"}


def documents(project: Path) -> dict[str, str]:
    """The pages of a project: their paths and their texts."""
    paths = [path for path in project.rglob("*.md") if not {".venv", "node_modules"} & {*path.parts}]
    return {str(path.relative_to(project)): path.read_text(encoding="utf-8") for path in paths}


def commands(text: str) -> Iterator[str]:
    """What a page tells to type: lines of its blocks for a console, and code within its sentences."""
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", text):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines())
        # A remark may name one, too.
        yield from re.findall(r"`([^`]+)`", block)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))


def parts(text: str, program: str) -> Iterator[list[str]]:
    """The words that follow a program, wherever a command calls it."""
    for command in commands(text):
        for found in re.findall(rf"(?:^|[\s;|&('/]){program} ((?:(?!\s[|&;>]|;).)+)", command):
            yield found.split()


@pytest.fixture
def known(project: Path, environment: Path, run: Run) -> set[str]:
    """The commands of a project's `flask`."""
    (package,) = (project / "src").iterdir()
    result = run(
        environment / "python", "-c", LIST.format(package=package.name), cwd=project, PYTHONPATH="src", FLASK_DEBUG="1"
    )
    assert result.returncode == 0, result.stderr
    return {*result.stdout.splitlines()} | BUILT_IN


def settings(project: Path) -> set[str]:
    """The variables that a project's own files name: its code, its settings, its containers."""
    files = [path for path in project.rglob("*") if path.is_file() and path.suffix != ".md"]
    return {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8", errors="ignore"))}


def flaws(project: Path, known: set[str], texts: dict[str, str]) -> Iterator[str]:
    """Name each command and each variable that is not there."""
    variables = settings(project)
    verbs = {*re.findall(r"(?m)^([a-z]+):", (project / "Makefile").read_text(encoding="utf-8"))}
    services: set[str] = set()
    for name in ("compose.yaml", "compose.dev.yaml"):
        services |= yaml.safe_load((project / name).read_text(encoding="utf-8"))["services"].keys()
    for path, text in texts.items():
        # What `TEST_X` says is `X` for a project's tests.
        named = {name.removeprefix("TEST_") for command in commands(text) for name in VARIABLE.findall(command)}
        yield from (f"{path}: {name}" for name in named - variables)
        for words in parts(text, "make"):
            yield from (f"{path}: make {word}" for word in words if re.fullmatch(r"[a-z]+", word) and word not in verbs)
        for words in parts(text, "flask"):
            yield from (f"{path}: flask {flaw}" for flaw in flaws_of_flask(words, known))
        for words in parts(text, "docker compose"):
            yield from (f"{path}: docker compose {flaw}" for flaw in flaws_of_compose(words, services))


def flaws_of_flask(words: list[str], known: set[str]) -> Iterator[str]:
    """Look at the name of a command, behind options of `flask` itself."""
    if words[:1] == ["--app"]:
        words = words[2:]
    name: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            break
        if name and " ".join(name) in known and not any(other.startswith(" ".join([*name, ""])) for other in known):
            break
        name.append(word)
    if name and " ".join(name) not in known:
        yield " ".join(name)


def flaws_of_compose(words: list[str], services: set[str]) -> Iterator[str]:
    """Look at the command and the services that it names."""
    verb, *rest = [word.strip("'\"") for word in words]
    if verb not in TAKE_SERVICES | RUN_IN_ONE | OTHERS:
        yield verb
    named = [
        word
        for before, word in zip(["", *rest], rest, strict=False)
        if not word.startswith("-") and before not in WITH_VALUE
    ]
    if verb in RUN_IN_ONE:
        yield from (f"{verb} {word}" for word in named[:1] if word not in services)
    elif verb in TAKE_SERVICES:
        yield from (f"{verb} {word}" for word in named if word not in services)


@each()
def test_commands_are_there(project: Path, known: set[str]) -> None:
    """A verb, a command of the application, a command of Compose and its service."""
    texts = documents(project)
    assert texts.keys() >= {"README.md", *PAGES}
    assert [*flaws(project, known, texts)] == []


@pytest.mark.parametrize(
    "mistake",
    [
        "`make deploy`",
        "`flask jobs rerun ID`",
        "`flask --app my_service.wsgi db migrate`",
        "```console\ndocker compose exec db psql\n```",
        "`docker compose logs --since 10m webb`",
        "`docker compose exec -T web flask seeds`",
        "`docker compose halt`",
        "`DATABASE_POOLS`",
    ],
)
@each([DEFAULT])
def test_mistakes_are_found(mistake: str, project: Path, known: set[str]) -> None:
    """Each way of naming what is not there."""
    assert [*flaws(project, known, {"page": f"Type {mistake} now.\n" if "\n" not in mistake else f"{mistake}\n"})]


@each()
def test_pages_are_short(project: Path) -> None:
    """Nobody reads a long one while something burns."""
    texts = documents(project)
    for path in PAGES:
        assert len(texts[path].splitlines()) <= 60, path
        assert texts[path].startswith("# "), path
        # A value's part leaves no hole.
        assert "\n\n\n" not in texts[path], path
        assert not re.search(r"(?m)^#.*\n[^\n]", re.sub(r"(?ms)^```.*?^```", "", texts[path])), path


def parts_of(options: dict[str, Value]) -> set[str]:
    """What a row consists of, as the picture names it."""
    wanted = {
        "clients": True,
        "cdn": options["cdn"] != "none",
        "proxy": options["reverse_proxy"] != "none",
        "web": True,
        "database": options["database"] != "none",
        "cache": options["cache"] != "none",
        **dict.fromkeys(("broker", "scheduler", "worker"), options["task_queue"] != "none"),
    }
    return {name for name, is_there in wanted.items() if is_there}


@each()
def test_the_picture(row: Row, project: Path) -> None:
    """It shows each part of this project, each connected to the others, and says what it is."""
    text = (project / "docs" / "architecture.md").read_text(encoding="utf-8")
    head, *lines = text.partition("```mermaid\n")[2].partition("```")[0].splitlines()
    assert head == "flowchart LR"
    shape = r"(\w+)(?:\(\[\w+\]\)|\[\(\w+\)\]|\[[\w, ]+\])?"
    arrows = [re.fullmatch(rf"    {shape}(?: --> {shape})?", line) for line in lines]
    assert all(arrows), lines
    pairs = [(arrow[1], arrow[2]) for arrow in arrows if arrow and arrow[2]]
    assert {name for pair in pairs for name in pair} == parts_of(row.options)
    assert len(pairs) == len({*pairs})
    reached = {"clients", "scheduler"}
    while more := {end for start, end in pairs if start in reached} - reached:
        reached |= more
    assert reached >= parts_of(row.options)


@each()
def test_an_editor_finds_its_container(row: Row, project: Path) -> None:
    """It builds from a file that is there, with the Python that was chosen."""
    folder = project / ".devcontainer"
    settings = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))
    dockerfile = (folder / settings["build"]["dockerfile"]).read_text(encoding="utf-8")
    (image,) = re.findall(r"(?m)^FROM (\S+)$", dockerfile)
    assert image.endswith(f"/python:{row.options['python_version']}")
    verbs = re.findall(r"make ([a-z]+)", settings["postCreateCommand"])
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    assert verbs
    assert all(f"\n{verb}:" in makefile for verb in verbs)


@each([DEFAULT])
def test_checkers_find_nothing(project: Path, environment: Path, run: Run) -> None:
    """hadolint, for the container of an editor."""
    result = run(environment / "hadolint", "--failure-threshold", "style", ".devcontainer/Dockerfile", cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr
