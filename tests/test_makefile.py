"""Tests of the make targets of a project, also with missing or unsuitable programs."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, link_venv
from tests.matrix import DEFAULT, MINIMAL, TEMPLATE, parametrize_combinations
from tests.services import free_port
from tests.test_source import tracked_files
from tests.test_updates import Repository

# An unused import, which ruff removes; a list that it formats; an undefined name that it only reports.
CODE_WITH_ERRORS = "import os\n\n\nnames = [ 'one',\n'two' ]\nprint(unknown)\n"


@pytest.fixture
def project_and_env(workspace: Path, venv_bin: Path) -> tuple[Path, dict[str, str]]:
    """Return a project with a linked virtual environment, and the environment variables for its commands."""
    return workspace, link_venv(workspace, venv_bin)


def write_program(folder: Path, name: str, script: str) -> Path:
    """Write an executable shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@parametrize_combinations([MINIMAL])
def test_format_fixes_and_reports_errors(project_and_env: tuple[Path, dict[str, str]], run: Run) -> None:
    """If ruff cannot fix an error, `make format` still formats and fixes all other code."""
    project, variables = project_and_env
    (module,) = project.glob("src/*/wsgi.py")
    module.write_text(CODE_WITH_ERRORS, encoding="utf-8")
    result = run("make", "format", cwd=project, **variables)
    assert result.returncode != 0
    assert "F821" in result.stdout
    assert module.read_text(encoding="utf-8") == 'names = ["one", "two"]\nprint(unknown)\n'
    module.write_text(CODE_WITH_ERRORS.replace("unknown", "names"), encoding="utf-8")
    assert run("make", "format", cwd=project, **variables).returncode == 0
    broken = module.with_name("broken.py")
    broken.write_text("def\n", encoding="utf-8")
    module.write_text(CODE_WITH_ERRORS.replace("unknown", "names"), encoding="utf-8")
    assert "broken.py" in run("make", "format", cwd=project, **variables).stdout
    assert module.read_text(encoding="utf-8") == 'names = ["one", "two"]\nprint(names)\n'


def test_template_format_fixes_and_reports_errors(run: Run, tmp_path: Path) -> None:
    """`make format` of the template does the same."""
    for path in (TEMPLATE / "Makefile", TEMPLATE / "pyproject.toml", *TEMPLATE.glob("requirements*.txt")):
        shutil.copy(path, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    for name in (".cookiecutter", ".ready"):
        (tmp_path / ".venv" / name).touch()
    module = tmp_path / "module.py"
    module.write_text(CODE_WITH_ERRORS, encoding="utf-8")
    result = run("make", "format", "SOURCE=module.py", cwd=tmp_path)
    assert result.returncode != 0
    assert "F821" in result.stdout
    assert module.read_text(encoding="utf-8") == 'names = ["one", "two"]\nprint(unknown)\n'


@parametrize_combinations([DEFAULT, MINIMAL])
def test_help_lists_all_targets_in_sections(workspace: Path, run: Run) -> None:
    """Each target with a description is listed below the heading of its section."""
    printed = run("make", "help", cwd=workspace).stdout
    makefile = (workspace / "Makefile").read_text(encoding="utf-8")
    described = re.findall(r"(?m)^([a-z-]+):.*## (.*)$", makefile)
    assert len(described) > 15
    assert re.findall(r"(?m)^  make ([a-z-]+) +(.*)$", printed) == described
    assert re.findall(r"(?m)^\w.*$", printed) == re.findall(r"(?m)^##@ (.*)$", makefile)
    assert printed.splitlines()[1:3] == ["", "Development"]


@parametrize_combinations([DEFAULT])
@pytest.mark.parametrize(
    ("former", "new"),
    [("serve", "run-prod"), ("dev", "up-dev"), ("load", "loadtest"), ("drift", "check-migrations")],
)
def test_former_target_prints_new_name(workspace: Path, run: Run, former: str, new: str) -> None:
    """A former target fails, and prints the name of its replacement."""
    result = run("make", former, cwd=workspace)
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == f"make {former} is now: make {new}"


@parametrize_combinations([MINIMAL])
def test_coverage_is_required_only_for_all_tests(project_and_env: tuple[Path, dict[str, str]], run: Run) -> None:
    """A run of few tests has no required coverage; a run of all tests fails below it."""
    project, variables = project_and_env
    example = re.search(r'make test (ARGS="[^"]+")', (project / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert example
    result = run("sh", "-c", f"make test {example[1]}", cwd=project, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    (package,) = project.glob("src/*/__init__.py")
    package.with_name("untested.py").write_text("def add(a, b):\n    c = a + b\n    return c\n" * 20, encoding="utf-8")
    result = run("make", "test", cwd=project, **variables)
    assert re.search(r"Required test coverage of 90\.0% not reached", result.stdout), result.stdout
    assert result.returncode != 0


@parametrize_combinations([MINIMAL])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"/missing is no Python: "),
        ("other", r"/other is no Python: "),
        ("old", r"/old is Python 3\.10\.9: name Python 3\.11 or newer "),
        ("bare", r"/bare cannot create virtual environments: .*python3-venv"),
        ("", r"^Python 3\.11 or newer is missing: "),
    ],
)
def test_unsuitable_python_is_reported(workspace: Path, run: Run, tmp_path: Path, name: str, message: str) -> None:
    """The error names the Python and the reason, and no `.venv` is left."""
    programs = tmp_path / "programs"
    write_program(programs, "other", "echo hello")
    write_program(programs, "old", 'case $1 in -c) echo False;; *) echo "Python 3.10.9";; esac')
    write_program(programs, "bare", "case $2 in *ensurepip*) exit 1;; *) echo True;; esac")
    command = ["make", "setup", f"PYTHON={programs / name if name else ''}"]
    result = run(*command, cwd=workspace)
    assert result.returncode != 0
    assert re.search(message, result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert not (workspace / ".venv").exists()


# A Python whose pip installs a uv that does nothing.
FAKE_PYTHON = """case "$*" in
    *version_info\\[:2\\]*) echo "(3, VERSION)" ;;
    *version_info*) echo True ;;
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip"*) printf '#!/bin/sh\\ncase $1 in workspace) pwd;; esac\\n' >.venv/bin/uv && chmod +x .venv/bin/uv ;;
esac"""


@parametrize_combinations([MINIMAL])
def test_other_python_replaces_environment(workspace: Path, run: Run, tmp_path: Path) -> None:
    """PYTHON=… replaces `.venv` only if its version is another one and can do so."""
    (workspace / ".venv").mkdir()
    for name in ("dotenv", "flask", "mypy", "pytest", "ruff", "uv"):
        write_program(workspace / ".venv" / "bin", name, "pwd")
    write_program(workspace / ".venv" / "bin", "python", FAKE_PYTHON.replace("VERSION", "98"))
    (workspace / ".venv" / ".done").write_text(f"{workspace.resolve()}\n", encoding="utf-8")
    programs = tmp_path / "programs"
    write_program(programs, "same", FAKE_PYTHON.replace("VERSION", "98"))
    write_program(programs, "new", FAKE_PYTHON.replace("VERSION", "99"))
    write_program(programs, "old", 'case $2 in *:2*) echo "(3, 10)";; *) echo False;; esac')
    kept = workspace / ".venv" / "kept"
    kept.touch()
    for name in ("same", "old", "missing"):
        result = run("make", "setup", f"PYTHON={programs / name}", cwd=workspace)
        assert (result.returncode == 0) is (name == "same"), result.stderr
        assert (f"{programs / name} is " in result.stderr) is (name != "same"), result.stderr
        assert kept.exists()
    result = run("make", "setup", cwd=workspace, PYTHON=str(programs / "new"))
    assert result.returncode == 0, result.stderr
    assert kept.exists()
    result = run("make", "setup", f"PYTHON={programs / 'new'}", cwd=workspace)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Creating .venv again with {programs / 'new'}\n"
    assert not kept.exists()
    assert (workspace / ".venv" / ".done").exists()


@parametrize_combinations([MINIMAL])
@pytest.mark.parametrize("compose", ["docker compose", "docker-compose"])
@pytest.mark.parametrize("target", ["up", "up-dev", "down", "logs"])
def test_missing_compose_is_reported(workspace: Path, run: Run, tmp_path: Path, target: str, compose: str) -> None:
    """If Compose is missing or too old, one line names the required version."""
    programs = tmp_path / "programs"
    write_program(programs, "docker", "echo 'Usage: docker [OPTIONS] COMMAND'; exit 125")
    write_program(programs, "docker-compose", "echo 1.29.2")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    result = run("make", target, f"COMPOSE={compose}", cwd=workspace, PATH=path)
    assert result.returncode != 0
    assert not result.stdout
    first, _ = result.stderr.splitlines()
    assert first.startswith(f"{compose} is missing or too old: install Docker Compose 2 or newer (https://")
    for version in ("2.40.3", "v2.24.5", "10.0.1-debian"):
        write_program(programs, "docker-compose", f"echo {version}")
        assert run("make", "compose", f"COMPOSE={compose}", cwd=workspace, PATH=path).returncode == (" " in compose) * 2


@parametrize_combinations([MINIMAL])
def test_uv_workspace_is_rejected(workspace: Path, venv_bin: Path, run: Run) -> None:
    """In a uv workspace `uv.lock` would be in the parent folder, where image builds do not find it."""
    link_venv(workspace, venv_bin)
    (workspace / ".venv" / ".done").unlink()
    parent = workspace.parent / "pyproject.toml"
    parent.write_text(
        '[project]\nname = "parent"\nversion = "1"\n[tool.uv.workspace]\nmembers = ["*"]\n', encoding="utf-8"
    )
    for _ in range(2):
        result = run("make", "setup", cwd=workspace)
        assert result.returncode != 0
        assert f"belongs to the uv workspace in {workspace.parent} " in result.stderr, result.stderr
    assert not (workspace.parent / "uv.lock").exists()


@parametrize_combinations([MINIMAL])
def test_broken_environment_is_deleted(project_and_env: tuple[Path, dict[str, str]], run: Run) -> None:
    """If the folder was moved or a program is missing, the next target deletes `.venv`."""
    project, variables = project_and_env
    assert run("make", cwd=project, **variables).returncode == 0
    assert (project / ".venv").exists()
    moved = project.rename(project.with_name("moved to here"))
    assert run("make", cwd=moved, **variables).returncode == 0
    assert not (moved / ".venv").exists()
    link_venv(moved, Path(sys.prefix) / "bin")
    assert not (moved / ".venv" / "bin" / "flask").exists()
    assert run("make", cwd=moved, **variables).returncode == 0
    assert not (moved / ".venv").exists()


@parametrize_combinations([DEFAULT])
def test_run_prod_warns_about_debug_mode(project_and_env: tuple[Path, dict[str, str]], run: Run) -> None:
    """With FLASK_DEBUG=1 `make run-prod` prints a warning, and does not start on an address that is not loopback."""
    project, variables = project_and_env
    result = run("timeout", "60", "make", "run-prod", cwd=project, **variables, BIND=f"0.0.0.0:{free_port()}")
    assert result.returncode != 0
    assert "Warning: FLASK_DEBUG=1" in result.stderr
    assert "BIND: expected a loopback address" in result.stderr
    result = run("make", "run-prod", cwd=project, **variables, BIND="nowhere", FLASK_DEBUG="0")
    assert result.returncode != 0
    assert "Warning" not in result.stderr


@parametrize_combinations([MINIMAL])
def test_missing_git_is_reported(project: Path, run: Run, tmp_path: Path) -> None:
    """The update script prints one line if git is missing."""
    result = run("/bin/sh", "scripts/update_from_template.sh", "template-check", cwd=project, PATH=str(tmp_path))
    assert result.returncode != 0
    assert result.stderr == "git is missing: install it\n"


@parametrize_combinations([DEFAULT])
def test_clone_has_lf_line_endings(workspace: Path, run: Run, tmp_path: Path) -> None:
    """All files of a clone have LF line endings, with any configuration of git."""
    project = Repository(workspace, run)
    project.commit("First")
    clone = tmp_path / "clone"
    options = [word for name in ("core.autocrlf=true", "core.eol=crlf") for word in ("--config", name)]
    project.run("git", "clone", "--quiet", *options, str(workspace), str(clone))
    paths = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert paths
    for path in paths:
        assert b"\r" not in path.read_bytes(), path
    assert run("sh", "-n", "scripts/update_from_template.sh", cwd=clone).returncode == 0


def test_template_files_have_lf_line_endings(run: Run) -> None:
    """Git attributes require LF line endings for all files of the template."""
    names = "\n".join(str(path.relative_to(TEMPLATE)) for path in tracked_files())
    output = run("git", "check-attr", "eol", "--stdin", cwd=TEMPLATE, typed=names).stdout
    assert {line.rpartition(": ")[2] for line in output.splitlines()} == {"lf"}
