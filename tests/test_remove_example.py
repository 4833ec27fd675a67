"""Tests of `make remove-example`: the example is removed, and all files and lines of the owner are preserved."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.matrix import MANIFEST, PROJECT, Answers, as_key
from tests.test_invalid_answers import COOKIECUTTER, run_cookiecutter
from tests.test_updates import CRUFT, PACKAGE, Repository, files, find_conflicts, make

VERSIONS = Path("migrations", "versions")
PROJECTS: dict[str, Answers] = {
    "default": {},
    "examples": {"database": "none", "auth": "none"},
    "sqlite-rq": {"database": "sqlite", "cache": "filesystem", "task_queue": "rq-redis", "wsgi_server": "granian"},
}

# Modules of a package of the owner.
INIT = '''"""Notes."""

from flask import Flask

from . import views


def init_app(app: Flask) -> None:
    """Register the blueprint."""
    app.register_blueprint(views.blueprint)
'''
VIEWS = '''"""API of the notes."""

from flask import Blueprint, current_app
from msgspec import Struct

from ..core.api import operation

blueprint = Blueprint("notes", __name__, url_prefix="/api/v1")


class Limit(Struct):
    """Maximum number of notes."""

    notes: int


@blueprint.get("/notes")
@operation("Notes", {200: Limit})
def count_notes() -> Limit:
    """Return the limit."""
    return Limit(current_app.config["NOTES_LIMIT"])
'''
MODELS = '''"""Database models."""

from sqlalchemy.orm import Mapped, mapped_column

from ..core.database import Base


class Note(Base):
    """Note."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
'''
TEST = """from flask.testing import FlaskClient


def test_notes_have_a_limit(client: FlaskClient) -> None:
    assert client.get("/api/v1/notes").get_json() == {"notes": 9}
"""
MIGRATION = '''"""Add {name}.

Revision: {name}, after {after}, of 2026-11-28 12:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "{name}",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_{name}")),
    )


def downgrade() -> None:
    op.drop_table("{name}")
'''


def migrate(project: Repository, name: str, before: str = "None") -> None:
    """Write a migration in the form of `make migration`."""
    after = ", ".join(re.findall(r'"(\w+)"', before)) or "nothing"
    project.write(f"{VERSIONS}/20261128_{name}.py", MIGRATION.format(name=name, before=before, after=after))


def add_owner_code(project: Repository, *, before: str) -> None:
    """Add a package, and a line next to each line of the example."""
    project.write(f"{PACKAGE}/notes/__init__.py", INIT)
    project.write(f"{PACKAGE}/notes/views.py", VIEWS)
    project.write("tests/notes/test_views.py", TEST)
    project.edit(f"{PACKAGE}/__init__.py", r"^    assets.init_app\(app\)$", r"    notes.init_app(app)\n\g<0>")
    project.edit(f"{PACKAGE}/__init__.py", "^    config,$", r"\g<0>\n    notes,")
    project.edit(f"{PACKAGE}/config.py", "^    SECRET_KEY: Secret$", r"    NOTES_LIMIT: int = 9\n\n\g<0>")
    project.edit("README.md", "^## The template$", r"## Notes\n\nWe take notes.\n\n\g<0>")
    project.edit(".env.example", "^# --- operation -+$", r"# --- notes ---\n\n#NOTES_LIMIT=9\n\n\g<0>")
    project.edit("tests/conftest.py", r"^pytest_plugins = \[(?:\n    .*)*", r'\g<0>\n    "fixtures.notes",')
    project.write("tests/fixtures/notes.py", '"""Notes for tests."""\n')
    if (project.folder / "migrations").exists():
        project.write(f"{PACKAGE}/notes/models.py", MODELS)
        project.edit(f"{PACKAGE}/notes/__init__.py", "import views", "import models as models, views")
        migrate(project, "note", before)


def render(run: Run, folder: Path, template: Path, **answers: str | bool) -> Repository:
    """Render a project with cookiecutter, and return its folder as a repository."""
    # With authentication the example has another migration; day one removes that, too.
    arguments = [f"{name}={as_key(value)}" for name, value in {"auth": "none", **answers}.items()]
    code, output = run_cookiecutter(run, folder, "project_name=Blue Shop", *arguments, template=template)
    assert code == 0, output
    return Repository(folder / "blue-shop", run)


def read_down_revision(project: Repository, name: str) -> str:
    """Return the source text of a migration's `down_revision`."""
    (found,) = re.findall(r"(?m)^down_revision = (.*)$", project.read(f"{VERSIONS}/20261128_{name}.py"))
    return str(found)


def list_folders(project: Repository) -> set[Path]:
    """Return all folders of a project, except folders of tools."""
    found = {folder.relative_to(project.folder) for folder in project.folder.rglob("*/")}
    return {folder for folder in found if not {".git", ".venv", "__pycache__"} & {*folder.parts}}


@pytest.mark.parametrize("answers", PROJECTS.values(), ids=PROJECTS)
def test_result_equals_render_without_example(
    answers: Answers, template: Path, tmp_path: Path, venv_bin: Path, run: Run
) -> None:
    """All files equal a render without the example; owner code is preserved. The template is a folder without git."""
    project = render(run, tmp_path / "with", template, **answers)
    has_jobs = (project.folder / VERSIONS / "0003_product_upload.py").exists()
    add_owner_code(project, before='"0003"' if has_jobs else '"0001"')
    project.commit("Work")
    for folder in project.folder.glob(f"{PACKAGE}/*/"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "views.cpython-313.pyc").touch()

    output = make(project, "remove-example")
    assert not find_conflicts(project)
    assert output.splitlines()[-1].startswith("Next: make setup check test")
    without = render(run, tmp_path / "without", template, **answers, example_app=False)
    add_owner_code(without, before="None")
    assert list_folders(project) == list_folders(without)
    for pycache in project.folder.rglob("__pycache__"):
        shutil.rmtree(pycache)
    assert files(project.folder) == files(without.folder)
    assert project.run("git", "diff", "--name-only") == ""  # everything is staged
    assert "remove-example" not in make(project, "help")

    if (project.folder / "migrations").exists():
        removed = "0003" if has_jobs else "0001"
        assert f"20261128_note.py: down_revision is now None, because {removed} was removed" in output
        dropped = re.findall(r'op.drop_table\("(\w+)", if_exists=True\)', output)
        assert dropped == ["product_upload"] * has_jobs + ["product", "category"]
        assert "alembic_version" not in output
    tests: list[str | Path] = [
        venv_bin / "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "tests/notes",
    ]
    assert "1 passed" in project.run(*tests)


def test_changed_answer_relinks_migrations(template: Path, tmp_path: Path, run: Run) -> None:
    """If an update removes a migration, later ones are relinked, also in a project without a link to a commit."""
    project = render(run, tmp_path / "out", template)
    migrate(project, "note", '"0003"')
    project.commit("Work")
    make(project, "template-update", 'ANSWERS={"task_queue": "none"}')
    assert read_down_revision(project, "note") == '"0001"'
    assert "Revision: note, after 0001, of" in project.read(f"{VERSIONS}/20261128_note.py")
    assert not (project.folder / ".cruft.json").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"0002"', "None"),
        ('"0001"  # why', "None  # why"),
        ('("0002", "own")', '"own"'),
        ('(\n    "own",\n    "0002",\n    "other",\n)', '("own", "other")'),
        ('"own"', '"own"'),
        ("None", "None"),
    ],
)
def test_links_to_removed_migrations_are_replaced(before: str, after: str, tmp_path: Path, run: Run) -> None:
    """Other links of branches, merges and dependencies are preserved."""
    (tmp_path / "here").mkdir()
    template = Repository(tmp_path / "old", run)
    for name, first in (("0001", "None"), ("0002", '"0001"')):
        migrate(template, name, first)
    project = Repository(tmp_path / "here", run)
    text = MIGRATION.format(name="note", after="…", before=before).replace(
        "depends_on = None", f"depends_on = {before}"
    )
    project.write(f"{VERSIONS}/20261128_note.py", text)
    project.commit("Work")
    project.run(sys.executable, PROJECT / "scripts" / "relink_migrations.py", template.folder, tmp_path / "new")
    assert read_down_revision(project, "note") == after
    assert f"depends_on = {after}\n" in project.read(f"{VERSIONS}/20261128_note.py")


def test_edited_example_file_is_a_conflict(template: Path, tmp_path: Path, run: Run) -> None:
    """An example file with changes of the owner is a conflict; all other example files are removed."""
    project = render(run, tmp_path / "out", template)
    project.commit("As rendered")
    project.write(f"{PACKAGE}/catalog/views.py", "# Ours.\n")
    project.commit("Work")
    output = make(project, "remove-example", fails=True)
    assert f"UD {PACKAGE}/catalog/views.py" in output
    assert "There are conflicts" in output
    assert "# Ours." in project.read(f"{PACKAGE}/catalog/views.py")
    assert not (project.folder / "tests" / "catalog").exists()


def test_template_with_uncommitted_changes(template: Path, tmp_path: Path, run: Run) -> None:
    """Example files without changes since the first commit are removed, although the template's commit is unknown.

    Without migrations of the owner, databases have a removed revision, so the output has commands to fix them.
    """
    project = render(run, tmp_path / "out", template)
    project.commit("As rendered")
    source = Repository(template, run)
    source.write(f"{PROJECT.name}/src/{{{{cookiecutter.package_name}}}}/catalog/views.py", "# More.\n")
    output = make(project, "remove-example")
    assert not find_conflicts(project)
    assert not (project.folder / PACKAGE / "catalog").exists()
    assert "rm -f development.sqlite3" in output
    assert "DELETE FROM alembic_version;" in output


# --- location of the template ----------------------------------------------------------------------------------------


def test_errors_are_one_line(template: Path, tmp_path: Path, run: Run) -> None:
    """Each error is one line, and changes no file."""
    project = render(run, tmp_path / "out", template)
    before = files(project.folder)

    def run_failing(*arguments: str) -> str:
        output = make(project, *arguments, fails=True).splitlines()
        (line,) = (line for line in output if not line.startswith("make: ***"))
        assert files(project.folder) == before
        return line

    assert "git init && git add --all && git commit" in run_failing("remove-example")
    project.commit("As rendered")

    project.write("README.md", "More.\n")
    before = files(project.folder)
    assert "Commit your work first" in run_failing("remove-example")
    project.run("git", "checkout", "--quiet", ".")
    before = files(project.folder)

    source = Repository(template, run)
    source.edit("cookiecutter.json", r'("_template_version": )"[^"]*"', r'\1"9.9.9"')
    assert "not a git repository, and its version is 9.9.9" in run_failing("remove-example")
    source.commit("A newer version, and no commit with the version of the project")
    output = run_failing("remove-example")
    assert f"{template} has no version" in output
    assert "make remove-example TEMPLATE=PATH-OR-URL" in output
    assert "make template-check TEMPLATE=PATH-OR-URL" in run_failing("template-check")

    template.rename(tmp_path / "moved")
    output = run_failing("remove-example")
    assert f"'{template}' does not exist" in output
    assert "make remove-example TEMPLATE=PATH-OR-URL" in output
    source = Repository(tmp_path / "moved", run)
    source.edit("cookiecutter.json", r'("_template_version": )"9.9.9"', rf'\1"{MANIFEST["_template_version"]}"')
    make(project, "remove-example", f"TEMPLATE={tmp_path / 'moved'}")
    assert not (project.folder / PACKAGE / "catalog").exists()
    assert f'template: "{template}"' in project.read(".template.yaml")  # the owner changes this line


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        (".", "{folder}"),
        ("../git-work", "{folder}"),
        ("{folder}", "{folder}"),
        ("file://{folder}", "file://{folder}"),
        ("https://user:password@example.com/work.git", "https://example.com/work.git"),
        ("gh:team/work", "https://github.com/team/work.git"),
        ("git@example.com:team/work.git", "git@example.com:team/work.git"),
    ],
)
def test_template_url_is_recorded(url: str, recorded: str, template: Path, tmp_path: Path, run: Run) -> None:
    """The project records the URL without a password and with an absolute path, so all developers can use it."""
    folder = template.rename(tmp_path / "git-work")
    source = Repository(folder, run)
    source.release(MANIFEST["_template_version"])
    # git maps all of these URLs to this folder.
    urls = [
        "https://user:password@example.com/work.git",
        "https://example.com/work.git",
        "git@example.com:team/work.git",
    ]
    config = tmp_path / "gitconfig"
    lines = "".join(f"insteadOf = {address}\n" for address in [*urls, "https://github.com/team/work.git"])
    config.write_text(f'[url "{folder}"]\n{lines}', encoding="utf-8")
    git = {"GIT_CONFIG_GLOBAL": str(config)}

    command = [COOKIECUTTER, url.format(folder=folder), "--no-input", "-o", tmp_path / "out"]
    result = run(*command, cwd=folder, **git)
    assert result.returncode == 0, result.stderr
    project = Repository(tmp_path / "out" / "my-service", run)
    assert f'template: "{recorded.format(folder=folder)}"\n' in project.read(".template.yaml")
    assert "s3cret" not in project.read(".template.yaml")
    command = ["make", "template-check", f"CRUFT={CRUFT}", f"BIN={CRUFT.parent}"]
    assert "Linked" in run(*command, cwd=project.folder, **git).stdout


# --- templates without tags ------------------------------------------------------------------------------------------


def test_link_to_template_without_tags(template: Path, tmp_path: Path, run: Run) -> None:
    """The link is the last commit with the version of the project; updates follow later commits."""
    source = Repository(template, run)
    source.commit("Without a tag")
    project = render(run, tmp_path / "out", template)
    project.commit("As rendered")
    assert "Nothing to do" in make(project, "template-check")
    assert json.loads(project.read(".cruft.json"))["commit"] == source.run("git", "rev-parse", "HEAD").strip()

    project.run("git", "clean", "--quiet", "--force", "--", ".cruft.json")
    linked = source.run("git", "rev-parse", "HEAD").strip()
    source.edit("cookiecutter.json", r'("_template_version": )"[^"]*"', r'\1"9.9.9"')
    source.write(f"{PROJECT.name}/README.md", "Unreleased.\n")
    source.commit("The next version")
    assert "make template-update" in make(project, "template-check", fails=True)
    assert json.loads(project.read(".cruft.json"))["commit"] == linked
    url = 'template: "https://git.example.com/template"'
    project.edit(".template.yaml", "^template: .*$", url)
    project.commit("Follow the template")
    make(project, "template-update")
    assert not find_conflicts(project)
    assert project.read("README.md").endswith("Unreleased.\n")
    assert url in project.read(".template.yaml")

    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "Updated")
    assert f"{template} has no v8" in make(project, "template-update", "VERSION=v8", fails=True)
    source.run("git", "checkout", "--quiet", "-b", "next")
    source.write(f"{PROJECT.name}/README.md", "A branch.\n")
    source.commit("On a branch")
    source.run("git", "checkout", "--quiet", "main")
    assert "nothing newer than main" in make(project, "template-update", "VERSION=main")
    assert "newer version, next" in make(project, "template-check", "VERSION=next", fails=True)
