"""Test of docs/upgrading.md: its steps update a project of version 0.2.0 that has its own code."""

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Run, copy_template
from tests.matrix import TEMPLATE
from tests.test_invalid_answers import run_cookiecutter
from tests.test_updates import CRUFT, Repository, files

ARCHIVE = TEMPLATE / "tests" / "data" / "template-0.2.0.tar.xz"
ORDINARY = Path(__file__).with_name("ordinary")
PAGE = (TEMPLATE / "docs" / "upgrading.md").read_text(encoding="utf-8")
PACKAGE = "src/my_service"


def section(heading: str) -> str:
    """Return the text of a section of the page."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert text, heading
    return text


def blocks(heading: str) -> list[str]:
    """Return the code blocks of a section."""
    return re.findall(r"(?ms)^```\w+\n(.*?)^```", section(heading))


@pytest.fixture
def upstream(tmp_path: Path, run: Run) -> Repository:
    """Return the template as a repository with two releases: 0.2.0 and the current files."""
    folder = tmp_path / "upstream"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    repository = Repository(folder, run)
    repository.release("0.2.0")
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    copy_template(folder)
    repository.release("9.0.0")
    return repository


def add_notes(project: Repository) -> None:
    """Add a cached view, a job and a setting, written for version 0.2.0."""
    package = project.folder / PACKAGE / "notes"
    package.mkdir()
    shutil.copy(ORDINARY / "notes_0_2.py", package / "__init__.py")
    (project.folder / "tests" / "notes").mkdir()
    shutil.copy(ORDINARY / "notes_0_2_tests.py", project.folder / "tests" / "notes" / "test_notes.py")
    project.edit(f"{PACKAGE}/__init__.py", "^    logs,$", r"\g<0>\n    notes,")
    project.edit(f"{PACKAGE}/__init__.py", r"^    assets\.init_app\(app\)$", r"    notes.init_app(app)\n\g<0>")
    project.edit(f"{PACKAGE}/config.py", "^(    LOG_LEVEL: .*)$", r'\1\n    GREETING: str = "Hello"')
    project.edit(".env.example", "^(#LOG_LEVEL=.*)$", r"\1\n#GREETING=Hello")
    project.commit("Notes")


def test_project_of_0_2_0_is_updated(upstream: Repository, tmp_path: Path, venv_bin: Path, run: Run) -> None:
    """Only the listed files conflict; after the listed steps the project has its own code, and its tests succeed."""
    (tmp_path / "projects").mkdir()
    arguments: list[str | Path] = ["--no-input", "--output-dir", tmp_path / "projects", "--checkout", "v0.2.0"]
    upstream.run(CRUFT, "create", upstream.folder, *arguments)
    (folder,) = (tmp_path / "projects").iterdir()
    project = Repository(folder, run)
    project.commit("As rendered")
    add_notes(project)

    # Without answers to the new questions, the update stops and changes nothing.
    update = ("make", "update", f"CRUFT={CRUFT}", f"BIN={CRUFT.parent}")
    output = project.run(*update, fails=True)
    assert 'add a line below task_queue in .template.yaml\n  auth: "none"\n' in output, output
    assert 'add a line below cdn in .template.yaml\n  monitoring: "none"\n' in output, output
    assert not project.run("git", "status", "--porcelain")
    answer, merge = blocks("Update")
    assert merge == "make update\n"
    project.run("bash", "-e", "-c", answer)
    project.run(*update, fails=True)
    unmerged = {*project.run("git", "diff", "--name-only", "--diff-filter=U").split()}
    assert unmerged == {*re.findall(r"(?m)^\* `([^`]+)`$", section("Conflicts"))}
    for heading in ("Conflicts", "Imports"):
        for block in blocks(heading):
            project.run("bash", "-e", "-c", block)
    notes = f"{PACKAGE}/notes/__init__.py"
    for heading in ("Cached views", "Background jobs"):
        found = blocks(heading)
        for old, new in zip(found[:3], found[3:], strict=True):
            project.edit(notes, re.escape(old.rstrip("\n")), new.rstrip("\n").replace("\\", r"\\"))
    project.edit(notes, "^from flask import", r"from celery import shared_task\n\g<0>")
    assert not project.run("git", "ls-files", "--unmerged")

    # All files are those of a new project without authentication, and its own.
    code, output = run_cookiecutter(run, tmp_path / "new", "auth=none", "monitoring=none", template=upstream.folder)
    assert code == 0, output
    rendered, updated = files(tmp_path / "new" / project.folder.name), files(project.folder)
    assert updated.keys() - rendered.keys() == {".cruft.json", notes, "tests/notes/test_notes.py"}
    assert not rendered.keys() - updated.keys()
    differing = {path for path in rendered if rendered[path] != updated[path]}
    assert differing == {f"{PACKAGE}/__init__.py", f"{PACKAGE}/config.py", ".env.example"}

    assert "GREETING" in project.read(f"{PACKAGE}/config.py")
    assert "GREETING" in project.read(".env.example")
    project.run(venv_bin / "ruff", "check", "--fix-only", "--no-cache", notes)
    project.run(venv_bin / "ruff", "format", "--no-cache", notes)
    for command in (("ruff", "check", "--no-cache"), ("python", "-m", "pytest", "-p", "no:cacheprovider")):
        project.run(venv_bin / command[0], *command[1:])
