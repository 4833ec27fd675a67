"""Hooks of pre-commit: clean on every project as it is made, and each finds what it is for."""

import re
from pathlib import Path

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.answers import DEFAULT, ROWS, TEMPLATE, each
from tests.conftest import Run, declared, lend
from tests.test_source import tracked

# test_renders.py proves these of each row.
PROVED = "format,lint,types"


def begin(project: Path, programs: Path, run: Run) -> None:
    """Keep a project by git as its team would, with the programs of the shared environment."""
    lend(project, programs)
    for words in (["init", "--quiet"], ["add", "--all"]):
        assert run("git", *words, cwd=project).returncode == 0


def check(project: Path, run: Run, *words: str, skip: str = "") -> tuple[int, str]:
    """Run hooks on all files; their code, and what they say."""
    home = project.parent / "pre-commit"
    command: list[str | Path] = [project / ".venv" / "bin" / "pre-commit", "run", "--all-files", *words]
    result = run(*command, cwd=project, SKIP=skip, PRE_COMMIT_HOME=str(home))
    return result.returncode, result.stdout + result.stderr


@each([DEFAULT])
def test_a_new_project_is_clean(workspace: Path, environment: Path, run: Run) -> None:
    """Right after it was made nothing is found and nothing is changed."""
    begin(workspace, environment, run)
    code, said = check(workspace, run)
    assert code == 0, said
    assert run("git", "diff", "--exit-code", "--stat", cwd=workspace).returncode == 0


def test_each_row_is_clean(cookies: Cookies, environment: Path, run: Run, tmp_path: Path) -> None:
    """In one run over all that differs between the rows, since most of the time is that of starting programs."""
    whole = tmp_path / "rows"
    known: set[tuple[str, bytes]] = set()
    for row in ROWS:
        project = cookies.bake(extra_context=row.context).project_path
        for path in sorted(path for path in project.rglob("*") if path.is_file() and path.name != ".env"):
            content = path.read_bytes()
            # A file that differs by the name of the package only is none that differs.
            package = next(project.glob("src/*")).name.encode()
            seen = (path.name, content.replace(package, b"package"))
            if seen not in known:
                known.add(seen)
                copy = whole / row.id / path.relative_to(project)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
    # It is the same for all.
    configurations = [*whole.glob("*/.pre-commit-config.yaml")]
    assert len(configurations) == 1
    configurations[0].rename(whole / ".pre-commit-config.yaml")
    begin(whole, environment, run)
    code, said = check(whole, run, skip=PROVED)
    assert code == 0, said
    assert said.count("Passed") == len(PLANTS) - len(PROVED.split(","))
    assert run("git", "diff", "--exit-code", "--stat", cwd=whole).returncode == 0


AWS = "AKIA" + "QYLPMN5HHHFPZAM2"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n"
# What is wrong, and where.
PLANTS = {
    "format": ("scripts/some.py", "x = {  'a':1 }\n"),
    "lint": ("scripts/some.py", '"""Something."""\n\nimport os\n'),
    "types": ("src/my_service/some.py", '"""Something."""\n\nx: int = "1"\n'),
    "secrets": ("notes.md", f"Our key is {AWS}\n"),
    "private-keys": ("notes.md", KEY),
    "large-files": ("film.bin", "x" * 1_100_000),
    "merge-marks": ("notes.md", "<<<<<<< HEAD\n=======\n>>>>>>> theirs\n"),
    "names": ("Readme.md", "# Another one\n"),
    "json": ("notes.json", "{,}\n"),
    "toml": ("notes.toml", "a = \n"),
    "yaml": ("notes.yaml", "a: [\n"),
    "line-ends": ("notes.md", "one\r\ntwo\r\n"),
    "spaces": ("notes.md", "one   \n\n\ttwo \n"),
    "last-lines": ("notes.md", "one\n\n\n"),
}


@each([DEFAULT])
def test_each_hook_finds(workspace: Path, environment: Path, run: Run) -> None:
    """One mistake for each hook, and it is told by this one."""
    begin(workspace, environment, run)
    hooks = yaml.safe_load((workspace / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == list(PLANTS)
    for hook, (path, text) in PLANTS.items():
        file = workspace / path
        file.write_bytes(text.encode())
        assert run("git", "add", "--all", cwd=workspace).returncode == 0
        if hook == "merge-marks":
            (workspace / ".git" / "MERGE_MSG").write_text("Conflicts:\n")
            (workspace / ".git" / "MERGE_HEAD").write_text("0" * 40)
        code, said = check(workspace, run, hook)
        assert code == 1, f"{hook}: {said}"
        assert f"hook id: {hook}" in said
        assert run("git", "rm", "--quiet", "--force", path, cwd=workspace).returncode == 0


@pytest.mark.parametrize("password", ["hunter2-of-the-shop", "correct%20horse"], ids=["plain", "quoted"])
@each([DEFAULT])
def test_a_password_in_an_address_is_found(password: str, workspace: Path, environment: Path, run: Run) -> None:
    """What is left out are the examples of this project only."""
    begin(workspace, environment, run)
    (workspace / "notes.md").write_text(f"postgresql://shop:{password}@db.example.com/shop\n", encoding="utf-8")
    assert run("git", "add", "--all", cwd=workspace).returncode == 0
    code, said = check(workspace, run, "secrets")
    assert code == 1, said
    assert "notes.md" in said


@each([DEFAULT])
def test_one_source_of_versions(project: Path) -> None:
    """Nothing is cloned: each hook is a program that pyproject.toml pins, as `make check` has it."""
    settings = yaml.safe_load((project / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in settings["repos"]] == ["local"]
    assert all(hook["language"] == "system" for hook in settings["repos"][0]["hooks"])
    assert all(hook["entry"].startswith(".venv/bin/") for hook in settings["repos"][0]["hooks"])
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    checked = re.findall(r"(?m)^\t\$\(BIN\)/(.*)$", makefile.partition("\ncheck:")[2].partition("\n\n")[0])
    hooks = {hook["id"]: hook["entry"].removeprefix(".venv/bin/") for hook in settings["repos"][0]["hooks"]}
    assert [command.removesuffix(" --check") for command in checked] == [
        hooks[name].removesuffix(" --force-exclude") for name in PROVED.split(",")
    ]
    pinned = {line.partition("==")[0] for line in declared(project / "pyproject.toml") if "==" in line}
    assert {"detect-secrets", "mypy", "pre-commit", "pre-commit-hooks", "ruff"} <= pinned


def test_the_template_is_clean(tmp_path: Path, run: Run) -> None:
    """Its own hooks find nothing either, and are those of a project where they can be."""
    copy = tmp_path / "template"
    for path in tracked():
        target = copy / path.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    begin(copy, TEMPLATE / ".venv" / "bin", run)
    code, said = check(copy, run)
    assert code == 0, said
    assert run("git", "diff", "--exit-code", "--stat", cwd=copy).returncode == 0
    names = [
        {hook["id"] for hook in yaml.safe_load(path.read_text(encoding="utf-8"))["repos"][0]["hooks"]}
        for path in (copy / ".pre-commit-config.yaml", copy / "{{cookiecutter.project_slug}}/.pre-commit-config.yaml")
    ]
    assert names[0] == names[1]
