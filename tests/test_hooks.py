"""Tests of the pre-commit hooks: a new project passes all of them, and each hook finds its kind of error."""

import re
from pathlib import Path

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.code_cover import code_cover
from tests.conftest import Run, declared_dependencies, link_venv
from tests.matrix import DEFAULT, TEMPLATE, parametrize_combinations
from tests.test_source import tracked_files

# test_renders.py tests these hooks for each combination.
TESTED_HOOKS = "format,lint,types"


def init_repository(project: Path, programs: Path, run: Run) -> None:
    """Create a git repository in a project, which uses the programs of the shared environment."""
    link_venv(project, programs)
    for words in (["init", "--quiet"], ["add", "--all"]):
        assert run("git", *words, cwd=project).returncode == 0


def run_pre_commit(project: Path, run: Run, *arguments: str, skip: str = "") -> tuple[int, str]:
    """Run hooks on all files; return the exit code and the output."""
    home = project.parent / "pre-commit"
    command: list[str | Path] = [project / ".venv" / "bin" / "pre-commit", "run", "--all-files", *arguments]
    result = run(*command, cwd=project, SKIP=skip, PRE_COMMIT_HOME=str(home))
    return result.returncode, result.stdout + result.stderr


@parametrize_combinations([DEFAULT])
def test_new_project_passes_hooks(workspace: Path, venv_bin: Path, run: Run) -> None:
    """In a new project the hooks report nothing and change no file."""
    init_repository(workspace, venv_bin, run)
    code, output = run_pre_commit(workspace, run)
    assert code == 0, output
    assert run("git", "diff", "--exit-code", "--stat", cwd=workspace).returncode == 0


def test_each_combination_passes_hooks(cookies: Cookies, venv_bin: Path, run: Run, tmp_path: Path) -> None:
    """The hooks report nothing for combinations with every value of every option and every line of Python.

    One run checks all files that differ between combinations, because starting the programs takes most of the time.
    """
    merged = tmp_path / "combinations"
    seen: set[tuple[str, bytes]] = set()
    for combination in code_cover():
        project = cookies.bake(extra_context=combination.context).project_path
        for path in sorted(path for path in project.rglob("*") if path.is_file() and path.name != ".env"):
            content = path.read_bytes()
            # Files that differ only by the name of the package count as equal.
            package = next(project.glob("src/*")).name.encode()
            key = (path.name, content.replace(package, b"package"))
            if key not in seen:
                seen.add(key)
                copy = merged / combination.id / path.relative_to(project)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
    # All combinations have the same configuration.
    configurations = [*merged.glob("*/.pre-commit-config.yaml")]
    assert len(configurations) == 1
    configurations[0].rename(merged / ".pre-commit-config.yaml")
    init_repository(merged, venv_bin, run)
    code, output = run_pre_commit(merged, run, skip=TESTED_HOOKS)
    assert code == 0, output
    assert output.count("Passed") == len(ERRORS) - len(TESTED_HOOKS.split(","))
    assert run("git", "diff", "--exit-code", "--stat", cwd=merged).returncode == 0


AWS = "AKIA" + "QYLPMN5HHHFPZAM2"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n"
# A file with an error for each hook.
ERRORS = {
    "format": ("scripts/some.py", "x = {  'a':1 }\n"),
    "lint": ("scripts/some.py", '"""Something."""\n\nimport os\n'),
    "types": ("src/my_service/some.py", '"""Something."""\n\nx: int = "1"\n'),
    "secrets": ("notes.md", f"Our key is {AWS}\n"),
    "private-keys": ("notes.md", KEY),
    "large-files": ("film.bin", "x" * 1_100_000),
    "merge-conflicts": ("notes.md", "<<<<<<< HEAD\n=======\n>>>>>>> theirs\n"),
    "case-conflicts": ("Readme.md", "# Another one\n"),
    "json": ("notes.json", "{,}\n"),
    "toml": ("notes.toml", "a = \n"),
    "yaml": ("notes.yaml", "a: [\n"),
    "line-endings": ("notes.md", "one\r\ntwo\r\n"),
    "trailing-whitespace": ("notes.md", "one   \n\n\ttwo \n"),
    "final-newlines": ("notes.md", "one\n\n\n"),
}


@parametrize_combinations([DEFAULT])
def test_each_hook_finds_its_error(workspace: Path, venv_bin: Path, run: Run) -> None:
    """Each hook reports the file with an error of its kind."""
    init_repository(workspace, venv_bin, run)
    hooks = yaml.safe_load((workspace / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == list(ERRORS)
    for hook, (path, text) in ERRORS.items():
        file = workspace / path
        file.write_bytes(text.encode())
        assert run("git", "add", "--all", cwd=workspace).returncode == 0
        if hook == "merge-conflicts":
            (workspace / ".git" / "MERGE_MSG").write_text("Conflicts:\n")
            (workspace / ".git" / "MERGE_HEAD").write_text("0" * 40)
        code, output = run_pre_commit(workspace, run, hook)
        assert code == 1, f"{hook}: {output}"
        assert f"hook id: {hook}" in output
        assert run("git", "rm", "--quiet", "--force", path, cwd=workspace).returncode == 0


@pytest.mark.parametrize("password", ["hunter2-of-the-shop", "correct%20horse"], ids=["plain", "quoted"])
@parametrize_combinations([DEFAULT])
def test_password_in_url_is_found(password: str, workspace: Path, venv_bin: Path, run: Run) -> None:
    """The hook ignores only the example passwords of the project."""
    init_repository(workspace, venv_bin, run)
    (workspace / "notes.md").write_text(f"postgresql://shop:{password}@db.example.com/shop\n", encoding="utf-8")
    assert run("git", "add", "--all", cwd=workspace).returncode == 0
    code, output = run_pre_commit(workspace, run, "secrets")
    assert code == 1, output
    assert "notes.md" in output


@parametrize_combinations([DEFAULT])
def test_hooks_use_pinned_programs(project: Path) -> None:
    """Each hook is a program that pyproject.toml pins and `make check` runs, so pre-commit clones no repository."""
    settings = yaml.safe_load((project / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in settings["repos"]] == ["local"]
    assert all(hook["language"] == "system" for hook in settings["repos"][0]["hooks"])
    assert all(hook["entry"].startswith(".venv/bin/") for hook in settings["repos"][0]["hooks"])
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"(?m)^check: lint typecheck ", makefile)
    recipes = [makefile.partition(f"\n{target}:")[2].partition("\n\n")[0] for target in ("lint", "typecheck")]
    commands = re.findall(r"(?m)^\t\$\(BIN\)/(.*)$", "\n".join(recipes))
    hooks = {hook["id"]: hook["entry"].removeprefix(".venv/bin/") for hook in settings["repos"][0]["hooks"]}
    assert [command.removesuffix(" --check") for command in commands] == [
        hooks[name].removesuffix(" --force-exclude") for name in TESTED_HOOKS.split(",")
    ]
    pinned = {line.partition("==")[0] for line in declared_dependencies(project / "pyproject.toml") if "==" in line}
    assert {"detect-secrets", "mypy", "pre-commit", "pre-commit-hooks", "ruff"} <= pinned


def test_template_passes_its_hooks(tmp_path: Path, run: Run) -> None:
    """The hooks of the template report nothing, and have the same IDs as those of a project."""
    copy = tmp_path / "template"
    for path in tracked_files():
        target = copy / path.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    init_repository(copy, TEMPLATE / ".venv" / "bin", run)
    code, output = run_pre_commit(copy, run)
    assert code == 0, output
    assert run("git", "diff", "--exit-code", "--stat", cwd=copy).returncode == 0
    names = [
        {hook["id"] for hook in yaml.safe_load(path.read_text(encoding="utf-8"))["repos"][0]["hooks"]}
        for path in (copy / ".pre-commit-config.yaml", copy / "{{cookiecutter.project_slug}}/.pre-commit-config.yaml")
    ]
    assert names[0] == names[1]
