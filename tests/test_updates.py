"""Tests of updates: a project merges newer versions of the template and changed answers, and preserves its own code."""

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_cookies.plugin import Cookies

from tests.conftest import Run, copy_template, declared_dependencies
from tests.matrix import DEFAULT, OPTIONS, PROJECT, TEMPLATE, VALUE_COVER, Value, as_key
from tests.test_adding_an_option import OPTION, STEPS
from tests.test_invalid_answers import COOKIECUTTER, read_files, run_cookiecutter

CRUFT = Path(sys.executable).with_name("cruft")
DOCUMENT = TEMPLATE / "docs" / "updating.md"
# The user's git configuration is ignored.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
}
# Folders of the template and of the project.
IN_PROJECT = PROJECT.name
IN_PACKAGE = f"{IN_PROJECT}/src/{{{{cookiecutter.package_name}}}}"
NAME = "Blue Shop"
PACKAGE = "src/blue_shop"


@dataclass
class Repository:
    """A folder with a git repository, of the template or of a project."""

    folder: Path
    execute: Run

    def run(self, *command: str | Path, fails: bool = False, **variables: str) -> str:
        """Run a program in the folder, which must succeed or, with `fails`, fail; return its output."""
        result = self.execute(*command, cwd=self.folder, **GIT, **variables)
        assert bool(result.returncode) is fails, result.stdout + result.stderr
        return result.stdout + result.stderr

    def commit(self, message: str) -> None:
        """Commit all changes, in a new repository if there is none."""
        if not (self.folder / ".git").exists():
            self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return (self.folder / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        """Append text to a file, which is created if it does not exist."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)

    def edit(self, path: str, pattern: str, new: str) -> None:
        """Replace a pattern that occurs exactly once in a file."""
        text, count = re.subn(pattern, lambda found: found.expand(new), self.read(path), flags=re.MULTILINE)
        assert count == 1, f"{path} has {pattern!r} {count} times"
        (self.folder / path).write_text(text, encoding="utf-8")

    def release(self, version: str) -> None:
        """Set the version of the template, commit it and tag it."""
        self.edit("cookiecutter.json", r'("_template_version": )"[^"]*"', rf'\1"{version}"')
        self.commit(f"Release {version}")
        self.run("git", "tag", f"v{version}")


@pytest.fixture
def upstream(template: Path, run: Run) -> Repository:
    """Return the template as a repository with one release."""
    repository = Repository(template, run)
    repository.release("9.0.0")
    return repository


@pytest.fixture(scope="session")
def shared_upstream(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Repository:
    """Return the template as a repository with one release, for tests that do not change it."""
    repository = Repository(copy_template(tmp_path_factory.mktemp("upstream") / "template"), run)
    repository.release("9.0.0")
    return repository


@pytest.fixture(scope="session")
def shared_project(shared_upstream: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Return a project of the shared template. It is created once; tests change copies."""
    return create_project(shared_upstream, tmp_path_factory.mktemp("shared") / "projects")


@pytest.fixture
def project_of_release(shared_project: Repository, tmp_path: Path) -> Repository:
    """Return a copy of the project of the shared template."""
    folder = shutil.copytree(shared_project.folder, tmp_path / shared_project.folder.name)
    return Repository(Path(folder), shared_project.execute)


def create_project(upstream: Repository, folder: Path, *arguments: str) -> Repository:
    """Create a project with cruft, and commit it."""
    folder.mkdir()
    upstream.run(CRUFT, "create", upstream.folder, "--no-input", "--output-dir", folder, *arguments)
    (project,) = folder.iterdir()
    repository = Repository(project, upstream.execute)
    repository.commit("As rendered")
    return repository


def files(project: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and the content of each file by its path, except `.env` and files of git and of tools."""
    return {path: file for path, file in read_files(project).items() if not path.startswith((".git/", ".venv/"))}


def move_to_another_clone(project: Repository) -> None:
    """Replace the project by a new clone of it, with the same `.env`."""
    secrets = project.read(".env")
    clone = project.folder.with_name("clone")
    project.run("git", "clone", "--quiet", "--no-local", project.folder, clone)
    shutil.rmtree(project.folder)
    clone.rename(project.folder)
    project.write(".env", secrets)


def find_conflicts(project: Repository) -> str:
    """Return the unmerged files, the rejected changes, and the files with conflict markers."""
    markers = project.execute("git", "grep", "-lE", "^(<<<<<<<|>>>>>>>) ", cwd=project.folder, **GIT).stdout
    rejected = project.run("git", "ls-files", "--others", "*.rej", "*.orig")
    return project.run("git", "ls-files", "--unmerged") + rejected + markers


# --- versions --------------------------------------------------------------------------------------------------------


def release_9_1_0(upstream: Repository) -> None:
    """Release a version with a new option, a changed pin, and changes next to lines that the team edits.

    The option is that of docs/adding-an-option.md.
    """
    for step in STEPS:
        if not step.path.startswith(("docs/", "tests/")):
            step.apply(upstream.folder)
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.1"')
    upstream.edit(
        f"{IN_PACKAGE}/config.py", "^# Defaults of required settings in debug", "# Values of required settings in debug"
    )
    upstream.edit(
        f"{IN_PROJECT}/tests/catalog/test_query_plans.py",
        r'"""Application with 10,000',
        '"""An application with 10,000',
    )
    upstream.edit(f"{IN_PACKAGE}/core/database/mysql.py", r'^"""MySQL and MariaDB', '"""MariaDB and MySQL')
    upstream.release("9.1.0")


def release_9_2_0(upstream: Repository) -> None:
    """Release a version with a moved block, a changed pin, and renamed, removed and new files."""
    makefile = upstream.folder / IN_PROJECT / "Makefile"
    before, start, rest = makefile.read_text(encoding="utf-8").partition("# {% if cookiecutter.__catalog %}\nseed:")
    block, end, after = rest.partition("# {% endif %}\n")
    makefile.write_text(before + after, encoding="utf-8")
    upstream.edit(f"{IN_PROJECT}/Makefile", r"^lock: ", (start + block + end).replace("\\", r"\\") + "lock: ")
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.2"')
    tests = upstream.folder / IN_PROJECT / "tests"
    (tests / "test_smoke.py").rename(tests / "test_start.py")
    (upstream.folder / IN_PACKAGE / "web" / "static" / "icon.svg").unlink()
    upstream.write(f"{IN_PACKAGE}/examples/more.py", '"""More."""\n')
    upstream.write(f"{IN_PROJECT}/NOTES.md", "What to know.\n")
    upstream.release("9.2.0")


def release_9_3_0(upstream: Repository) -> None:
    """Release a version that changes the same places again."""
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.3"')
    upstream.edit(f"{IN_PACKAGE}/config.py", "^# Values of required settings in debug", "# Settings in debug")
    upstream.edit(f"{IN_PACKAGE}/catalog/views.py", '"""Commit the block', '"""Commit a block')
    (upstream.folder / IN_PROJECT / "NOTES.md").unlink()
    upstream.release("9.3.0")


# Code that the team adds.
VIEW = '''

@blueprint.get("/products/names")
@public()
@operation("Products", {200: list[str]})
def list_names() -> list[str]:
    """List the names of products that are sold out."""
    page, _ = queries.load_products(ProductQuery(sold_out=True))
    return [product.name for product in page]
'''
TEST = """

def test_names_are_listed(client: FlaskClient, add_product: Callable[[str], Record]) -> None:
    add_product("apple")
    assert client.get(f"{PRODUCTS}/names").get_json() == ["apple"]
"""
LOCK = "version = 1\n"


def add_team_changes(project: Repository) -> None:
    """Change a project as its team does: edit and delete files, extend the example, add a dependency and uv.lock."""
    project.edit(f"{PACKAGE}/config.py", "^MIN_UNIQUE_CHARACTERS = 10$", "MIN_UNIQUE_CHARACTERS = 12")
    project.edit(f"{PACKAGE}/config.py", "^(    LOG_LEVEL: .*)$", r'\1\n    GREETING: str = "Hello"')
    project.edit(".env.example", "^(#LOG_LEVEL=.*)$", r"\1\n#GREETING=Hello")
    project.write(f"{PACKAGE}/catalog/views.py", VIEW)
    project.write("tests/catalog/test_views.py", TEST)
    project.edit("pyproject.toml", "^(    # Yours from here on:.*)$", r'\1\n    "tzdata==2026.2",')
    project.edit("README.md", "^## Start$", "We sell blue things.\n\n## Start")
    (project.folder / "tests" / "catalog" / "test_query_plans.py").unlink()
    project.write("uv.lock", LOCK)
    project.commit("Work")


# --- ways to update --------------------------------------------------------------------------------------------------


@dataclass
class Cruft:
    """Updates with cruft alone, always in the same clone."""

    upstream: Repository
    project: Repository
    bin: Path

    def create(self) -> None:
        """Create the project."""
        command: list[str | Path] = [
            CRUFT,
            "create",
            self.upstream.folder,
            "--no-input",
            "--output-dir",
            self.project.folder.parent,
        ]
        self.upstream.run(*command, "--checkout", "v9.0.0", "--extra-context", json.dumps({"project_name": NAME}))
        self.project.commit("As rendered")

    def update(self) -> None:
        """Update the project to the newest version."""
        self.project.run(CRUFT, "check", fails=True)
        self.project.run(CRUFT, "update", "--skip-apply-ask")
        self.project.run(CRUFT, "check")

    def change_answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        answers = json.dumps({name: value})
        self.project.run(CRUFT, "update", "--skip-apply-ask", "--variables-to-update", answers)


@dataclass
class Make(Cruft):
    """Updates with make, each time in a new clone."""

    def make(self, target: str, *arguments: str, fails: bool = False) -> str:
        """Run a make target of the project with the programs of the shared environment."""
        return self.project.run("make", target, f"BIN={self.bin}", *arguments, fails=fails)

    def create(self) -> None:
        """Create the project with cookiecutter, and link it to its template."""
        command: list[str | Path] = [COOKIECUTTER, self.upstream.folder, "--no-input", "-o", self.project.folder.parent]
        self.upstream.run(*command, f"project_name={NAME}")
        self.project.commit("As rendered")
        assert "Linked" in self.make("template-check")
        self.project.commit("Follow the template")

    def update(self) -> None:
        """Update the project to the newest version."""
        move_to_another_clone(self.project)
        assert "make template-update" in self.make("template-check", fails=True)
        self.make("template-update")
        self.make("template-check")

    def change_answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        move_to_another_clone(self.project)
        self.make("template-update", f"ANSWERS={json.dumps({name: value})}")


@dataclass
class Git(Cruft):
    """Updates with git alone, with the commands of docs/updating.md."""

    def run_block(self, start: str, answers: str = "", *, fails: bool = False) -> None:
        """Run the block of the document that starts with this text."""
        blocks = re.findall(r"(?ms)^```console\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"))
        (block,) = (block for block in blocks if block.startswith(start))
        block = block.replace("PATH-OR-URL", shlex.quote(str(self.upstream.folder))).replace(
            ".. --over", f"..{answers} --over"
        )
        folder = self.project.folder.parent if block.startswith("cd ") else self.project.folder
        path = f"{COOKIECUTTER.parent}:{os.environ['PATH']}"
        Repository(folder, self.project.execute).run("bash", "-e", "-c", block, PATH=path, fails=fails)

    def create(self) -> None:
        """Create the project, and its branch of rendered projects."""
        command: list[str | Path] = [COOKIECUTTER, self.upstream.folder, "--no-input", "-o", self.project.folder.parent]
        self.upstream.run(*command, f"project_name={NAME}")
        self.run_block("cd blue-shop\ngit init")

    def update(self) -> None:
        """Update the project to the newest version. 9.1.0 conflicts: it changes a file that the team deleted."""
        conflicts = '"9.1.0"' in self.upstream.read("cookiecutter.json")
        self.run_block("git worktree add", fails=conflicts)
        if conflicts:
            self.project.run("git", "rm", "--quiet", "tests/catalog/test_query_plans.py")
            self.project.commit("Merged")
            self.project.run("git", "worktree", "remove", "../update/blue-shop")

    def change_answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        self.run_block("git worktree add", f" {name}={as_key(value)}")


@pytest.mark.parametrize("updater_class", [Cruft, Make, Git])
def test_project_is_updated_through_all_versions(
    updater_class: type[Cruft], upstream: Repository, tmp_path: Path, venv_bin: Path, run: Run
) -> None:
    """All versions and a changed answer are merged without conflicts.

    The changes of the team are preserved, and the tests of the project succeed.
    """
    (tmp_path / "projects").mkdir()
    project = Repository(tmp_path / "projects" / "blue-shop", run)
    updater = updater_class(upstream, project, venv_bin)
    updater.create()
    add_team_changes(project)
    secrets = project.read(".env")

    def apply(step: Callable[[], None]) -> None:
        step()
        assert not find_conflicts(project)
        project.run("git", "add", "--all")
        project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Updated")

    for release in (release_9_1_0, release_9_2_0, release_9_3_0):
        release(upstream)
        apply(updater.update)
    apply(lambda: updater.change_answer(OPTION, value=True))

    # All other files are equal to those of a new render.
    code, output = run_cookiecutter(
        run, tmp_path / "new", f"project_name={NAME}", f"{OPTION}=yes", template=upstream.folder
    )
    assert code == 0, output
    rendered, found = files(tmp_path / "new" / "blue-shop"), files(project.folder)
    assert rendered.keys() - found.keys() == {"tests/catalog/test_query_plans.py"}
    assert found.keys() - rendered.keys() - {".cruft.json"} == {"uv.lock"}
    differing = {path for path in rendered.keys() & found.keys() if rendered[path] != found[path]}
    edited = {f"{PACKAGE}/config.py", f"{PACKAGE}/catalog/views.py", "tests/catalog/test_views.py"}
    assert differing == {".env.example", "pyproject.toml", "README.md", *edited}

    # Files that both sides changed have both changes.
    assert "GREETING" in project.read(f"{PACKAGE}/config.py")
    assert "= 12\n" in project.read(f"{PACKAGE}/config.py")
    assert "# Settings in debug" in project.read(f"{PACKAGE}/config.py")
    assert VIEW in project.read(f"{PACKAGE}/catalog/views.py")
    assert "Commit a block" in project.read(f"{PACKAGE}/catalog/views.py")
    assert {"tzdata==2026.2", "werkzeug==9.3"} <= {*declared_dependencies(project.folder / "pyproject.toml")}
    assert "We sell blue things." in project.read("README.md")
    assert f"{OPTION} | yes" in project.read("docs/template-updates.md")
    assert project.read(".env") == secrets
    assert project.read("uv.lock") == LOCK

    if updater_class is Make:  # the other ways give the same files
        project.run(venv_bin / "python", "-m", "pytest", "-p", "no:cacheprovider")


# --- conflicts and limits ---------------------------------------------------------------------------------------------


def make(project: Repository, *arguments: str, fails: bool = False) -> str:
    """Run a make target of the project with the cruft of the tests."""
    return project.run("make", *arguments, f"CRUFT={CRUFT}", f"BIN={CRUFT.parent}", fails=fails)


def test_conflict_is_reported(upstream: Repository, tmp_path: Path) -> None:
    """A line that both sides changed is a conflict with both versions; the other files are merged."""
    project = create_project(upstream, tmp_path / "projects")
    project.edit("pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==8.0"')
    project.commit("Work")
    release_9_1_0(upstream)
    output = make(project, "template-update", fails=True)
    assert "UU pyproject.toml" in output
    assert "There are conflicts" in output
    assert "<<<<<<< HEAD" in project.read("pyproject.toml")
    assert find_conflicts(project)
    assert {"werkzeug==8.0", "werkzeug==9.1"} <= {*re.findall(r"werkzeug==[\d.]+", project.read("pyproject.toml"))}
    assert "# Values of required settings in debug" in project.read("src/my_service/config.py")


def test_cruft_rejects_what_make_merges(upstream: Repository, tmp_path: Path) -> None:
    """In a new clone cruft alone rejects a change and exits with 0; `make template-update` merges the change."""
    project = create_project(upstream, tmp_path / "projects")
    project.edit("pyproject.toml", "^(    # Yours from here on:.*)$", r'\1\n    "tzdata==2026.2",')
    project.commit("Work")
    release_9_1_0(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask")
    assert not find_conflicts(project)
    project.commit("Updated")
    move_to_another_clone(project)
    release_9_2_0(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask")
    assert find_conflicts(project) == "pyproject.toml.rej\n"
    project.run("git", "reset", "--quiet", "--hard")
    project.run("git", "clean", "--quiet", "--force", "-d")
    make(project, "template-update")
    assert not find_conflicts(project)
    assert {"tzdata==2026.2", "werkzeug==9.2"} <= {*declared_dependencies(project.folder / "pyproject.toml")}


def test_removed_file_with_changes_is_a_conflict(upstream: Repository, tmp_path: Path) -> None:
    """A changed file that the template removed stays, and is reported."""
    project = create_project(upstream, tmp_path / "projects")
    icon = "src/my_service/web/static/icon.svg"
    project.write(icon, "<!-- ours -->\n")
    project.commit("Work")
    release_9_1_0(upstream)
    release_9_2_0(upstream)
    output = make(project, "template-update", fails=True)
    assert f"UD {icon}" in output
    assert find_conflicts(project)
    assert "<!-- ours -->" in project.read(icon)
    assert "# Values of required settings in debug" in project.read("src/my_service/config.py")


def test_project_may_be_a_subfolder(upstream: Repository, tmp_path: Path, run: Run) -> None:
    """If the project is a folder of a repository, the other folders are unchanged."""
    project = create_project(upstream, tmp_path / "projects")
    shutil.rmtree(project.folder / ".git")
    repository = Repository(project.folder.parent, run)
    repository.write("README.md", "Two services.\n")
    repository.commit("Services")
    release_9_1_0(upstream)
    (project.folder / "tests" / "catalog" / "test_query_plans.py").unlink()
    repository.commit("Work")
    make(project, "template-update")
    assert "# Values of required settings in debug" in project.read("src/my_service/config.py")
    changed = repository.run("git", "diff", "--name-only", "HEAD").split()
    assert {path.partition("/")[0] for path in changed} == {project.folder.name}
    assert not (project.folder / "tests" / "catalog" / "test_query_plans.py").exists()
    assert not find_conflicts(project)


def test_uncommitted_changes_prevent_update(upstream: Repository, tmp_path: Path) -> None:
    """With uncommitted changes the update fails and changes no file."""
    project = create_project(upstream, tmp_path / "projects")
    release_9_1_0(upstream)
    project.write("README.md", "More.\n")
    before = files(project.folder)
    assert "Commit your work first" in make(project, "template-update", fails=True)
    assert files(project.folder) == before


def test_update_selects_the_right_version(upstream: Repository, tmp_path: Path) -> None:
    """The default is the newest release; a changed answer keeps the version; no update selects an older version."""
    project = create_project(upstream, tmp_path / "projects")
    release_9_1_0(upstream)
    release_9_2_0(upstream)
    upstream.write(f"{IN_PROJECT}/README.md", "Unreleased.\n")
    upstream.commit("Unreleased")
    upstream.run("git", "tag", "v10.0.0-rc1")

    def update(*arguments: str) -> str:
        make(project, "template-update", *arguments)
        project.run("git", "add", "--all")
        project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Updated")
        (version,) = re.findall(r'(?m)^version: "(.*)"', project.read(".template.yaml"))
        return str(version)

    name, values = next(iter(OPTIONS.items()))
    assert update(f"ANSWERS={json.dumps({name: values[1]})}") == "9.0.0"
    assert update("VERSION=v9.1.0") == "9.1.0"
    assert update() == "9.2.0"
    assert "Unreleased" not in project.read("README.md")
    update("VERSION=main")
    update()
    assert "Unreleased" in project.read("README.md")


def test_new_question_changes_nothing(upstream: Repository, tmp_path: Path) -> None:
    """A project that is older than a question gets the answer that changes nothing, and not the default."""
    project = create_project(upstream, tmp_path / "projects")
    before = files(project.folder)
    upstream.edit("cookiecutter.json", '^  "example_app": true,$', r'\g<0>\n  "color": ["red", "none"],')
    upstream.edit("cookiecutter.json", '^  "_answers_of_older_projects": {', r'\g<0>"color": "none", ')
    upstream.write(f"{IN_PROJECT}/COLOR.md", "{{ cookiecutter.color }}\n")
    upstream.release("9.1.0")
    make(project, "template-update")
    assert project.read("COLOR.md") == "none\n"
    assert '\n  color: "none"\n' in project.read(".template.yaml")
    after = files(project.folder)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {".cruft.json", ".template.yaml", "README.md", "docs/template-updates.md"}


INVALID_ANSWERS = {
    '{"databse": "mysql"}': "databse is not a question: did you mean database?",
    '{"_files": {}}': "_files is not a question",
    '{"database": "oracle"}': "oracle provided for choice variable database, but the choices are ['postgresql', ",
    '{"python_version": 3.14}': "python_version: 3.14 is not a text, true or false",
    '{"web_pages": "maybe"}': "maybe provided for variable web_pages could not be converted",
    '{"domain_name": "localhost"}': "as an argument: domain_name=example.com",
    '{"database': "ANSWERS is not valid JSON: Unterminated string",
    "database=mysql": "ANSWERS is not valid JSON",
    '["database"]': "ANSWERS must be a JSON object",
}


@pytest.mark.parametrize("answers", INVALID_ANSWERS, ids=range(len(INVALID_ANSWERS)))
def test_invalid_answer_is_rejected(answers: str, project_of_release: Repository) -> None:
    """No file is changed, and one message without a traceback has the reason."""
    project = project_of_release
    output = make(project, "template-update", f"ANSWERS={answers}", fails=True)
    assert INVALID_ANSWERS[answers] in output
    assert "Traceback" not in output
    assert len(output.splitlines()) <= 10
    assert not project.run("git", "status", "--porcelain")


def test_changed_answers_equal_new_render(
    shared_upstream: Repository, project_of_release: Repository, cookies: Cookies
) -> None:
    """After each update the files equal a new render; after the last one, to the defaults, they equal the first ones.

    The answers are those of few combinations, and change from and to every value of every option.
    """
    project = project_of_release
    original = files(project.folder)
    secrets = project.read(".env")
    for combination in [*VALUE_COVER[1:], DEFAULT]:
        answers = combination.options
        project.run(CRUFT, "update", "--skip-apply-ask", "--variables-to-update", json.dumps(answers))
        assert not find_conflicts(project)
        project.commit(combination.id)
        found = files(project.folder)
        if combination is DEFAULT:
            assert found == original
            break
        found.pop(".cruft.json")
        assert found == files(cookies.bake(extra_context=answers, template=str(shared_upstream.folder)).project_path)
    assert project.read(".env") == secrets


def test_new_project_has_no_difference(project_of_release: Repository) -> None:
    """For cruft a new project, and one with the same files after updates, equals its template."""
    project_of_release.run(CRUFT, "diff", "--exit-code")


def test_renders_differ_only_in_skipped_files(cookies: Cookies) -> None:
    """Two renders with the same answers differ only in files that updates skip."""
    first, second = (cookies.bake().project_path for _ in range(2))
    differing = {
        str(path.relative_to(first))
        for path in first.rglob("*")
        if path.is_file() and path.read_bytes() != (second / path.relative_to(first)).read_bytes()
    }
    settings = tomllib.loads((first / "pyproject.toml").read_text(encoding="utf-8"))
    assert differing == {*settings["tool"]["cruft"]["skip"]}


def test_text_with_braces_is_updated(upstream: Repository, tmp_path: Path) -> None:
    """`make template-update` works with braces in a text; cruft alone fails and changes no file."""
    project = create_project(
        upstream, tmp_path / "projects", "--extra-context", '{"description": "Fills {{ \'{{\' }} name }}"}'
    )
    assert "Fills {{ name }}" in project.read("README.md")
    release_9_1_0(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask", fails=True)
    assert project.run("git", "status", "--porcelain") == ""
    make(project, "template-update")
    assert "Fills {{ name }}" in project.read("README.md")
    assert "# Values of required settings in debug" in project.read("src/my_service/config.py")
