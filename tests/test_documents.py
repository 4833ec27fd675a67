"""Tests of a project's documents: commands, settings, log events, diagrams and examples match the project."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Run
from tests.matrix import DEFAULT, Combination, Value, parametrize_combinations

PAGES = (
    "CONTRIBUTING.md",
    *(f"docs/{name}.md" for name in ("architecture", "capacity", "incidents", "performance", "runbook")),
)
# Commands of Compose: with any number of services, with one service, and without services.
MULTI_SERVICE_COMMANDS = {"build", "logs", "ps", "pull", "restart", "stats", "stop", "up"}
SINGLE_SERVICE_COMMANDS = {"exec", "run"}
OTHER_COMMANDS = {"config", "down", "version"}
# Options of Compose that take a value.
OPTIONS_WITH_VALUE = {"--scale", "--since", "--tail", "--timeout", "--volume"}
# Prints all commands of an application, each with its groups.
LIST_COMMANDS = """
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
# Variables that OpenTelemetry and the agent of Datadog read.
OTHER_VARIABLES = re.compile("OTEL_|DD_")
FLASK_COMMANDS = {"routes", "run", "shell"}
# Several words in backquotes are a command, a setting of Redis, or a log event.
PHRASE = re.compile(r"`([a-z]+(?: [a-z]+)+)`")
PROGRAMS = ("alembic ", "docker ", "flask ", "git ", "kubectl ", "make ", "systemctl ")
REDIS_SETTINGS = {"appendfsync always", "appendfsync everysec", "appendonly yes"}
LOG_METHODS = {"critical", "debug", "error", "exception", "info", "warning"}


def documents(project: Path) -> dict[str, str]:
    """Return the text of each document of a project by its path."""
    paths = [path for path in project.rglob("*.md") if not {".venv", "node_modules"} & {*path.parts}]
    return {str(path.relative_to(project)): path.read_text(encoding="utf-8") for path in paths}


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a document: lines of its console blocks, and inline code."""
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", text):
        yield from (line.partition("  #")[0].strip() for line in block.splitlines())
        # Comments in a block may contain commands, too.
        yield from re.findall(r"`([^`]+)`", block)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))


def arguments_of(text: str, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a document."""
    for command in commands(text):
        for found in re.findall(rf"(?:^|[\s;|&('/]){program} ((?:(?!\s[|&;>]|;).)+)", command):
            yield found.split()


@pytest.fixture
def flask_commands(project: Path, venv_bin: Path, run: Run) -> set[str]:
    """Return the commands of the project's `flask` program."""
    (package,) = (project / "src").iterdir()
    result = run(
        venv_bin / "python",
        "-c",
        LIST_COMMANDS.format(package=package.name),
        cwd=project,
        PYTHONPATH="src",
        FLASK_DEBUG="1",
    )
    assert result.returncode == 0, result.stderr
    return {*result.stdout.splitlines()} | FLASK_COMMANDS


def settings(project: Path) -> set[str]:
    """Return the environment variables that the files of a project use, except its documents."""
    files = [path for path in project.rglob("*") if path.is_file() and path.suffix != ".md"]
    return {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8", errors="ignore"))}


def events(project: Path) -> set[str]:
    """Return the events that the code of a project logs."""
    found: set[str] = set()
    for module in project.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS:
                found |= {str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return found


def find_errors(project: Path, flask_commands: set[str], texts: dict[str, str]) -> Iterator[str]:
    """Yield each command, variable and log event in these documents that does not exist."""
    variables = settings(project)
    logged = events(project)
    # Former names of targets only print the new name, so documents must not use them.
    targets = {*re.findall(r"(?m)^([a-z-]+):(?! ;)", (project / "Makefile").read_text(encoding="utf-8"))}
    services: set[str] = set()
    for file in sorted(project.glob("compose*.yaml")):
        services |= yaml.safe_load(file.read_text(encoding="utf-8"))["services"].keys()
    units = [*project.glob("deploy/systemd/*-*.*")]
    for path, text in texts.items():
        # `TEST_X` sets `X` for the tests of a project.
        named = {name.removeprefix("TEST_") for command in commands(text) for name in VARIABLE.findall(command)}
        unknown = {name for name in named - variables if not OTHER_VARIABLES.match(name)}
        yield from (f"{path}: {name}" for name in unknown)
        # A server without containers has a command with the name of the project.
        programs = (*PROGRAMS, f"{project.name} ") if units else PROGRAMS
        phrases = {phrase for phrase in PHRASE.findall(text) if not phrase.startswith(programs)}
        yield from (f"{path}: log event {phrase}" for phrase in phrases - flask_commands - REDIS_SETTINGS - logged)
        # A quoted command is not a target.
        for words in arguments_of(re.sub(r"(COMMAND=)'[^']*'", r"\1", text), "make"):
            yield from (
                f"{path}: make {word}" for word in words if re.fullmatch(r"[a-z-]+", word) and word not in targets
            )
        for words in arguments_of(text, "flask"):
            yield from (f"{path}: flask {error}" for error in find_flask_errors(words, flask_commands))
        for program in ("systemctl", "journalctl"):
            for words in arguments_of(text, program):
                yield from (f"{path}: {program} {word}" for word in find_missing_units(words, project, units))
        # `./compose` is Compose on the server.
        for words in arguments_of(text, r"(?:docker |\./)compose"):
            yield from (f"{path}: docker compose {error}" for error in find_compose_errors(words, services))


def find_flask_errors(words: list[str], flask_commands: set[str]) -> Iterator[str]:
    """Yield the command in the arguments of `flask` if it does not exist."""
    if words[:1] == ["--app"]:
        words = words[2:]
    name: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            break
        if (
            name
            and " ".join(name) in flask_commands
            and not any(other.startswith(" ".join([*name, ""])) for other in flask_commands)
        ):
            break
        name.append(word)
    if name and " ".join(name) not in flask_commands:
        yield " ".join(name)


def find_missing_units(words: list[str], project: Path, units: list[Path]) -> Iterator[str]:
    """Yield the units of the project in the arguments of `systemctl` that do not exist."""
    for word in words:
        name = re.sub(r"@\d+$", "@", word.strip("'\"").removesuffix(".service"))
        found = {unit.name for unit in units} | {unit.name.removesuffix(".service") for unit in units}
        if name.startswith(f"{project.name}-") and "*" not in name and name not in found:
            yield word


def find_compose_errors(words: list[str], services: set[str]) -> Iterator[str]:
    """Yield the command and the services in the arguments of `docker compose` that do not exist."""
    command, *rest = [word.strip("'\"") for word in words]
    if command not in MULTI_SERVICE_COMMANDS | SINGLE_SERVICE_COMMANDS | OTHER_COMMANDS:
        yield command
    named = [
        word
        for before, word in zip(["", *rest], rest, strict=False)
        if not word.startswith("-") and before not in OPTIONS_WITH_VALUE
    ]
    if command in SINGLE_SERVICE_COMMANDS:
        yield from (f"{command} {word}" for word in named[:1] if word not in services)
    elif command in MULTI_SERVICE_COMMANDS:
        yield from (f"{command} {word}" for word in named if word not in services)


@parametrize_combinations()
def test_documented_commands_exist(project: Path, flask_commands: set[str]) -> None:
    """Each make target, Flask command, Compose command, service, setting and log event exists."""
    texts = documents(project)
    assert texts.keys() >= {"README.md", *PAGES}
    assert [*find_errors(project, flask_commands, texts)] == []


@pytest.mark.parametrize(
    "error",
    [
        "`make publish`",
        "`flask jobs rerun ID`",
        "`flask --app my_service.wsgi db migrate`",
        "```console\ndocker compose exec db psql\n```",
        "`docker compose logs --since 10m webb`",
        "`docker compose exec -T web flask seeds`",
        "`docker compose halt`",
        "`./compose restart webb`",
        "`systemctl restart my-service-proxy`",
        "`DATABASE_POOLS`",
        "`repeated statement`",
    ],
)
@parametrize_combinations([DEFAULT])
def test_unknown_command_is_found(error: str, project: Path, flask_commands: set[str]) -> None:
    """The search finds each kind of error."""
    assert [
        *find_errors(project, flask_commands, {"page": f"Type {error} now.\n" if "\n" not in error else f"{error}\n"})
    ]


@parametrize_combinations()
def test_pages_have_maximum_length(project: Path) -> None:
    """The README has at most 500 words, AGENTS.md 80 lines, and each page in `PAGES` 60 lines.

    The entries for alerts do not count: alerts link to them.
    """
    texts = documents(project)
    entries = re.compile(r"^## Alerts of Prometheus$.*?(?=^## )", re.DOTALL | re.MULTILINE)
    texts["docs/incidents.md"] = entries.sub("", texts["docs/incidents.md"])
    assert len(texts["README.md"].split()) <= 500
    assert len(texts["AGENTS.md"].splitlines()) <= 80
    assert {path: count for path in PAGES if (count := len(texts[path].splitlines())) > 60} == {}


@parametrize_combinations()
def test_pages_are_well_formed(project: Path) -> None:
    """Each page starts with its title, has no double blank line, and has a blank line after each heading."""
    for path, text in documents(project).items():
        if path.startswith("."):
            continue
        prose = re.sub(r"(?ms)^```.*?^```", "code", text)
        assert prose.startswith("# "), path
        assert not prose.endswith("\n\n"), path
        assert "\n\n\n" not in prose, path
        assert not re.search(r"(?m)^#.*\n[^\n]", prose), path


@parametrize_combinations()
def test_readme_links_to_each_page(project: Path) -> None:
    """Each page of docs/ is reachable from the README in one step."""
    texts = documents(project)
    linked = {*re.findall(r"\]\((docs/[a-z-]+\.md)", texts["README.md"])}
    assert {path for path in texts if path.startswith("docs/")} == linked


def expected_nodes(options: dict[str, Value]) -> set[str]:
    """Return the nodes of the architecture diagram of a combination."""
    nodes = {
        "clients": True,
        "cdn": options["cdn"] != "none",
        "proxy": options["reverse_proxy"] != "none",
        "web": True,
        "database": options["database"] != "none",
        "cache": options["cache"] != "none",
        **dict.fromkeys(("broker", "scheduler", "worker"), options["task_queue"] != "none"),
    }
    return {name for name, is_expected in nodes.items() if is_expected}


@parametrize_combinations()
def test_diagram_shows_all_components(combination: Combination, project: Path) -> None:
    """The diagram has exactly the components of the project, and all of them are connected."""
    text = (project / "docs" / "architecture.md").read_text(encoding="utf-8")
    head, *lines = text.partition("```mermaid\n")[2].partition("```")[0].splitlines()
    assert head == "flowchart LR"
    shape = r"(\w+)(?:\(\[\w+\]\)|\[\(\w+\)\]|\[[\w, ]+\])?"
    arrows = [re.fullmatch(rf"    {shape}(?: --> {shape})?", line) for line in lines]
    assert all(arrows), lines
    pairs = [(arrow[1], arrow[2]) for arrow in arrows if arrow and arrow[2]]
    assert {name for pair in pairs for name in pair} == expected_nodes(combination.options)
    assert len(pairs) == len({*pairs})
    reachable = {"clients", "scheduler"}
    while more := {end for start, end in pairs if start in reachable} - reachable:
        reachable |= more
    assert reachable >= expected_nodes(combination.options)


@parametrize_combinations()
def test_devcontainer_is_consistent(combination: Combination, project: Path) -> None:
    """The Dockerfile exists and has the chosen Python version; the make targets exist."""
    folder = project / ".devcontainer"
    settings = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))
    dockerfile = (folder / settings["build"]["dockerfile"]).read_text(encoding="utf-8")
    (image,) = re.findall(r"(?m)^FROM (\S+)$", dockerfile)
    assert image.endswith(f"/python:{combination.options['python_version']}")
    targets = re.findall(r"make ([a-z-]+)", settings["postCreateCommand"])
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


@parametrize_combinations([DEFAULT])
def test_devcontainer_passes_hadolint(project: Path, venv_bin: Path, run: Run) -> None:
    """Hadolint reports nothing for the Dockerfile of the dev container."""
    result = run(venv_bin / "hadolint", "--failure-threshold", "style", ".devcontainer/Dockerfile", cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr
