"""Tests of rendering over an existing folder, from other sources, and with a closed or full stdout."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Run
from tests.matrix import TEMPLATE
from tests.test_invalid_answers import COOKIECUTTER, read_files, run_cookiecutter

Files = dict[str, tuple[int, bytes]]

README, OPTIONS = TEMPLATE / "README.md", TEMPLATE / "docs" / "options.md"
CRUFT = Path(sys.executable).with_name("cruft")
# Answers that remove whole folders, and files of the owner in these folders.
CHANGED_ANSWERS = {"ci": "none", "database": "none", "auth": "none"}
ANSWER_ARGUMENTS = [f"{name}={value}" for name, value in CHANGED_ANSWERS.items()]
OWNER_FILES = {
    ".github/ISSUE_TEMPLATE/bug.yml": "name: Bug\n",
    "migrations/old.sql": "select 1;\n",
    "migrations/versions/0000_own.py": '"""Ours."""\n',
    "src/other/database/own.py": '"""Ours."""\n',
}


@pytest.fixture
def template_repository(template: Path, run: Run) -> Path:
    """Return the template as a git repository."""
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Start"]):
        result = run("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *words, cwd=template)
        assert result.returncode == 0, result.stderr
    return template


def write_owner_files(folder: Path) -> Files:
    """Write files of the owner, an empty folder and symbolic links; return all files of the folder."""
    for path, text in OWNER_FILES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "migrations" / "empty").mkdir()
    (folder / "migrations" / "link").symlink_to("empty")
    (folder / "migrations" / "dangling").symlink_to("nowhere")
    return read_files(folder)


RENDER_COMMANDS: dict[str, Callable[[Path, Path], list[str | Path]]] = {
    "path": lambda source, out: [COOKIECUTTER, source, "--no-input", "-f", "-o", out, *ANSWER_ARGUMENTS],
    "url": lambda source, out: [COOKIECUTTER, f"git+file://{source}", "--no-input", "-f", "-o", out, *ANSWER_ARGUMENTS],
    "zip": lambda source, out: [COOKIECUTTER, f"{source}.zip", "--no-input", "-f", "-o", out, *ANSWER_ARGUMENTS],
    "cruft": lambda source, out: [
        *(CRUFT, "create", source, "--no-input", "-f", "--output-dir", out),
        *("--extra-context", json.dumps(CHANGED_ANSWERS)),
    ],
    "make": lambda _, out: [
        "make",
        "-C",
        TEMPLATE,
        "new",
        f"OUT={out}",
        f"ARGS=--no-input -f {' '.join(ANSWER_ARGUMENTS)}",
    ],
}


@pytest.mark.parametrize("command", RENDER_COMMANDS)
def test_render_preserves_owner_files(command: str, template_repository: Path, tmp_path: Path, run: Run) -> None:
    """All other files are equal to those of a render into a new folder, and no empty folders are left."""
    if command == "zip":
        shutil.make_archive(str(template_repository), "zip", template_repository.parent, template_repository.name)
    code, output = run_cookiecutter(run, tmp_path / "fresh", *ANSWER_ARGUMENTS)
    assert code == 0, output
    fresh = read_files(tmp_path / "fresh" / "my-service")
    project = tmp_path / "out" / "my-service"
    before = write_owner_files(project)
    for _ in range(2):
        result = run(*RENDER_COMMANDS[command](template_repository, tmp_path / "out"), cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        after = read_files(project)
        after.pop(".cruft.json", None)
        # This file records the location of the template.
        after[".template.yaml"] = fresh[".template.yaml"]
        assert after == fresh | before
    empty = {path.relative_to(project) for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())}
    assert empty == {Path("migrations/empty"), Path("migrations/link")}
    assert (project / "migrations" / "dangling").is_symlink()


# Documented URLs, and whether cookiecutter accepts them: without "git" in its name, a host needs `git+`.
URLS = {
    "git+https://code.example.com/platform/service": True,
    "https://code.example.com/platform/service.git": True,
    "git+ssh://git@code.example.com/platform/service": True,
    "git@code.example.com:platform/service.git": True,
    "https://code.example.com/platform/service": False,
}


@pytest.mark.parametrize("url", URLS)
def test_git_url_is_accepted_or_rejected(url: str, template_repository: Path, tmp_path: Path, run: Run) -> None:
    """Cookiecutter accepts the documented forms of URLs; git maps each URL to a local repository."""
    remote = url.removeprefix("git+")
    variables = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{template_repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": remote,
    }
    result = run(COOKIECUTTER, url, "--no-input", "-o", tmp_path / "out", cwd=tmp_path, **variables)
    assert (result.returncode == 0) is URLS[url], result.stderr
    assert (tmp_path / "out" / "my-service" / "Makefile").exists() is URLS[url]
    assert url in README.read_text(encoding="utf-8") + OPTIONS.read_text(encoding="utf-8")


def test_changed_answers_remove_their_files(tmp_path: Path, run: Run) -> None:
    """A second render with other answers removes files of the former answers, and preserves files of the owner."""
    project = tmp_path / "out" / "my-service"
    code, output = run_cookiecutter(run, tmp_path / "out")
    assert code == 0, output
    secrets = (project / ".env").read_bytes()
    owner_files = write_owner_files(project).keys() & OWNER_FILES.keys()
    code, output = run_cookiecutter(run, tmp_path / "out", "-f", *ANSWER_ARGUMENTS)
    assert code == 0, output
    code, output = run_cookiecutter(run, tmp_path / "fresh", *ANSWER_ARGUMENTS)
    assert code == 0, output
    after = read_files(project)
    assert {path: after.pop(path) for path in owner_files}.keys() == OWNER_FILES.keys()
    assert after == read_files(tmp_path / "fresh" / "my-service")
    assert (project / ".env").read_bytes() == secrets


def test_skipped_file_is_not_removed(tmp_path: Path, run: Run) -> None:
    """With --skip-if-file-exists, an owner's file with the name of a template file is neither written nor removed."""
    project = tmp_path / "out" / "my-service"
    code, output = run_cookiecutter(run, tmp_path / "out")
    assert code == 0, output
    (project / "migrations" / "env.py").write_text("own = True\n", encoding="utf-8")
    (project / ".github").rename(tmp_path / "elsewhere")
    code, output = run_cookiecutter(run, tmp_path / "out", "-f", "--skip-if-file-exists", *ANSWER_ARGUMENTS)
    assert code == 0, output
    assert (project / "migrations" / "env.py").read_text(encoding="utf-8") == "own = True\n"
    assert not (project / ".github").exists()


def test_files_behind_symlink_are_preserved(tmp_path: Path, run: Run) -> None:
    """If a folder of the project is a symbolic link, the files in its target are preserved."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "queries").mkdir(parents=True)
    (elsewhere / "queries" / "old.sql").write_text("select 1;\n", encoding="utf-8")
    before = read_files(elsewhere)
    project = tmp_path / "out" / "my-service"
    project.mkdir(parents=True)
    (project / "migrations").symlink_to(elsewhere)
    code, output = run_cookiecutter(run, tmp_path / "out", "-f", *ANSWER_ARGUMENTS)
    assert code == 0, output
    assert read_files(elsewhere) == before
    assert (project / "migrations").is_symlink()


def test_env_file_may_be_dangling_symlink(tmp_path: Path, run: Run) -> None:
    """`.env` may be a symbolic link to a file that does not exist at the time of the render."""
    project = tmp_path / "out" / "my-service"
    project.mkdir(parents=True)
    (project / ".env").symlink_to("/run/secrets/nowhere")
    code, output = run_cookiecutter(run, tmp_path / "out", "-f")
    assert code == 0, output
    assert (project / ".env").is_symlink()


# --- redirected stdout and stderr ------------------------------------------------------------------------------------

NAME = "Łukasz Żak"
# Shell scripts that run a command with redirected streams.
REDIRECTS = {
    "unchanged": '"$@"',
    "closed stdout": '"$@" >&-',
    "closed streams": '"$@" >&- 2>&- <&-',
    "full device for stdout": '"$@" >/dev/full',
    "full device for both": '"$@" >/dev/full 2>&1',
    "closed pipe for stdout": 'set -o pipefail; { sleep 0.5; "$@"; } | true',
    "closed pipe for both": 'set -o pipefail; { sleep 0.5; "$@"; } 2>&1 | true',
}


def render_with_redirect(redirect: str, folder: Path, run: Run, *answers: str) -> tuple[int, str]:
    """Render with redirected streams; return the exit code and the remaining output."""
    command = ["bash", "-c", REDIRECTS[redirect], "bash", COOKIECUTTER, TEMPLATE, "--no-input", "-o", folder, *answers]
    result = run(*command, cwd=folder.parent, PYTHONIOENCODING="cp1252")
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_redirected_output_changes_no_project(redirect: str, tmp_path: Path, run: Run) -> None:
    """The project is complete even if the summary cannot be printed."""
    code, output = render_with_redirect(
        redirect, tmp_path / "out", run, f"author_name={NAME}", "database=none", "auth=none"
    )
    assert code == 0, output
    recorded = yaml.safe_load((tmp_path / "out" / "my-service" / ".template.yaml").read_text(encoding="utf-8"))
    assert recorded["default_context"]["author_name"] == NAME
    assert (tmp_path / "out" / "my-service" / ".env").exists()
    assert not (tmp_path / "out" / "my-service" / "migrations").exists()
    assert not [*(tmp_path / "out" / "my-service").glob(".before*")]
    if redirect == "unchanged":
        assert r"author_name     \u0141ukasz \u017bak" in output


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_redirected_output_changes_no_rejection(redirect: str, tmp_path: Path, run: Run) -> None:
    """An invalid answer is rejected and nothing is written, even if the error cannot be printed."""
    code, output = render_with_redirect(redirect, tmp_path / "out", run, f"author_name={NAME}", f"domain_name={NAME}")
    assert code != 0, output
    assert [*(tmp_path / "out").iterdir()] == []
    if redirect == "unchanged":
        assert r"domain_name = '\u0141ukasz \u017bak'" in output


def test_make_new_works_with_redirected_output(tmp_path: Path, run: Run) -> None:
    """`make new` prints its own messages before the hook does."""
    command = ["make", "new", f"OUT={tmp_path}", f"NAME={NAME}", "ARGS=--no-input"]
    for number, redirect in enumerate((">&-", ">/dev/full", "| true")):
        redirected = [
            "bash",
            "-c",
            f'set -o pipefail; "$@" {redirect}',
            "bash",
            *command,
            f"OUT={tmp_path / str(number)}",
        ]
        result = run(*redirected, cwd=TEMPLATE, PYTHONIOENCODING="cp1252")
        assert result.returncode == 0, result.stdout + result.stderr
        assert (tmp_path / str(number) / "lukasz-zak" / ".env").exists()


# --- printed next steps ----------------------------------------------------------------------------------------------


def test_printed_next_steps_work(tmp_path: Path, run: Run) -> None:
    """The printed commands run as they are; the first commit has all files, including uv.lock, except secrets."""
    code, output = run_cookiecutter(run, tmp_path / "out")
    assert code == 0, output
    steps = re.findall(r"(?m)^  (\S.*?)(?:  .*)?$", output.partition("\nNext:\n")[2])
    assert [step.split()[0] for step in steps] == ["cd", "make", "make", "git"]
    project = tmp_path / "out" / "my-service"
    (project / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    script = "\n".join(["set -e", steps[0], *(step for step in steps if step.startswith("git "))])
    author = {f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    result = run("bash", "-c", script, cwd=tmp_path, **author)
    assert result.returncode == 0, result.stdout + result.stderr
    committed = {*run("git", "ls-files", cwd=project).stdout.split()}
    assert "uv.lock" in committed
    assert committed == read_files(project).keys() - {path for path in read_files(project) if path.startswith(".git/")}


@pytest.mark.parametrize(
    ("database", "commands"), [("cassandra", ["make database", "make run"]), ("mongodb", ["make run"])]
)
def test_printed_next_steps_start_the_database(tmp_path: Path, run: Run, database: str, commands: list[str]) -> None:
    """`make run` starts a fake MongoDB, but no Cassandra: there the printed commands start one first."""
    code, output = run_cookiecutter(run, tmp_path / "out", f"database={database}", "auth=none")
    assert code == 0, output
    assert re.findall(r"(?m)^  (make \w+)", output)[:-1] == commands


def test_render_does_not_run_git(tmp_path: Path, run: Run) -> None:
    """The render only prints git commands, and runs none."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n", encoding="utf-8")
    program.chmod(0o755)
    command = [COOKIECUTTER, TEMPLATE, "--no-input", "-o", tmp_path / "out"]
    result = run(*command, cwd=tmp_path, PATH=f"{program.parent}:{os.environ['PATH']}")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "called").exists()
    assert subprocess.run([program], check=False).returncode == 0
    assert (tmp_path / "called").exists()
