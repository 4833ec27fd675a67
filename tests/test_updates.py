"""A project lives on: it takes over newer versions of the template and other answers, and what is its own stays."""

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

from tests.answers import OPTIONS, PROJECT, TEMPLATE, Value, as_key
from tests.conftest import Run, declared
from tests.test_adding_an_option import OPTION, STEPS
from tests.test_refusals import COOKIECUTTER, bake, contents

CRUFT = Path(sys.executable).with_name("cruft")
DOCUMENT = TEMPLATE / "docs" / "updating.md"
# Nobody's own settings of git.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
}
# Where the template and the project have their files.
IN_PROJECT = PROJECT.name
IN_PACKAGE = f"{IN_PROJECT}/src/{{{{cookiecutter.package_name}}}}"
NAME = "Blue Shop"
PACKAGE = "src/blue_shop"


@dataclass
class Repository:
    """A folder that git keeps: the template's, or a project's."""

    folder: Path
    execute: Run

    def run(self, *command: str | Path, fails: bool = False, **variables: str) -> str:
        """Run a program there, which has to succeed or to fail, and give what it said."""
        result = self.execute(*command, cwd=self.folder, **GIT, **variables)
        assert bool(result.returncode) is fails, result.stdout + result.stderr
        return result.stdout + result.stderr

    def commit(self, message: str) -> None:
        """Keep everything as it is."""
        if not (self.folder / ".git").exists():
            self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def read(self, path: str) -> str:
        """Give a file's text."""
        return (self.folder / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        """Add a file, or text to the end of one."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)

    def edit(self, path: str, pattern: str, new: str) -> None:
        """Replace what stands once in a file."""
        text, count = re.subn(pattern, lambda found: found.expand(new), self.read(path), flags=re.MULTILINE)
        assert count == 1, f"{path} has {pattern!r} {count} times"
        (self.folder / path).write_text(text, encoding="utf-8")

    def release(self, version: str) -> None:
        """Do what the template's authors do: number it, keep it, tag it."""
        self.edit("cookiecutter.json", r'("_template_version": )"[^"]*"', rf'\1"{version}"')
        self.commit(f"Release {version}")
        self.run("git", "tag", f"v{version}")


@pytest.fixture
def upstream(template: Path, run: Run) -> Repository:
    """The template as a repository with one release."""
    repository = Repository(template, run)
    repository.release("9.0.0")
    return repository


def created(upstream: Repository, folder: Path, *arguments: str) -> Repository:
    """A project that cruft has made, as it is before anybody touches it."""
    folder.mkdir()
    upstream.run(CRUFT, "create", upstream.folder, "--no-input", "--output-dir", folder, *arguments)
    (project,) = folder.iterdir()
    made = Repository(project, upstream.execute)
    made.commit("As rendered")
    return made


def files(project: Path) -> dict[str, tuple[int, bytes]]:
    """Each file of a project but `.env` and what its tools keep: its mode and its bytes."""
    return {path: file for path, file in contents(project).items() if not path.startswith((".git/", ".venv/"))}


def move_to_another_clone(project: Repository) -> None:
    """Forget all that is in this clone only, but for `.env`."""
    secrets = project.read(".env")
    clone = project.folder.with_name("clone")
    project.run("git", "clone", "--quiet", "--no-local", project.folder, clone)
    shutil.rmtree(project.folder)
    clone.rename(project.folder)
    project.write(".env", secrets)


def leftovers(project: Repository) -> str:
    """What shows that an update did not merge by itself."""
    marks = project.execute("git", "grep", "-lE", "^(<<<<<<<|>>>>>>>) ", cwd=project.folder, **GIT).stdout
    rejected = project.run("git", "ls-files", "--others", "*.rej", "*.orig")
    return project.run("git", "ls-files", "--unmerged") + rejected + marks


# --- versions --------------------------------------------------------------------------------------------------------


def second(upstream: Repository) -> None:
    """Ask a new question, whose option is that of docs/adding-an-option.md; move a pin; change what is near edits."""
    for step in STEPS:
        if not step.path.startswith("docs/"):
            step.apply(upstream.folder)
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.1"')
    upstream.edit(f"{IN_PACKAGE}/config.py", "^# What debug and testing mode use", "# What both of these modes use")
    upstream.edit(f"{IN_PROJECT}/tests/catalog/test_plans.py", r'"""A catalog of a size', '"""A catalog, of a size')
    upstream.edit(f"{IN_PACKAGE}/database/mysql.py", r'^"""MySQL and MariaDB', '"""MariaDB and MySQL')
    upstream.release("9.1.0")


def third(upstream: Repository) -> None:
    """Move a block, a pin and a file; remove a file; add one where many projects have nothing."""
    makefile = upstream.folder / IN_PROJECT / "Makefile"
    before, start, rest = makefile.read_text(encoding="utf-8").partition("# {% if cookiecutter.__catalog %}\nseed:")
    block, end, after = rest.partition("# {% endif %}\n")
    makefile.write_text(before + after, encoding="utf-8")
    upstream.edit(f"{IN_PROJECT}/Makefile", r"^lock: ", (start + block + end).replace("\\", r"\\") + "lock: ")
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.2"')
    tests = upstream.folder / IN_PROJECT / "tests"
    (tests / "test_json_provider.py").rename(tests / "test_json.py")
    (upstream.folder / IN_PACKAGE / "static" / "icon.svg").unlink()
    upstream.write(f"{IN_PACKAGE}/primes/more.py", '"""More."""\n')
    upstream.write(f"{IN_PROJECT}/NOTES.md", "What to know.\n")
    upstream.release("9.2.0")


def fourth(upstream: Repository) -> None:
    """Come back to where the others have been."""
    upstream.edit(f"{IN_PROJECT}/pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==9.3"')
    upstream.edit(f"{IN_PACKAGE}/config.py", "^# What both of these modes use", "# What both modes use")
    upstream.edit(f"{IN_PACKAGE}/catalog/views.py", '"""Commit what the block did;', '"""Commit what a block did;')
    (upstream.folder / IN_PROJECT / "NOTES.md").unlink()
    upstream.release("9.3.0")


# What its team adds.
VIEW = '''

@blueprint.get("/products/names")
@operation("Products", {200: list[str]})
def list_names() -> list[str]:
    """List the names of products that are sold out."""
    page, _ = queries.load_page(20, None, None, sold_out=True)
    return [product.name for product in page]
'''
TEST = """

def test_names_are_listed(client: FlaskClient, add_product: Callable[[str], Record]) -> None:
    add_product("apple")
    assert client.get(f"{PRODUCTS}/names").get_json() == ["apple"]
"""
LOCK = "version = 1\n"


def develop(project: Repository) -> None:
    """Work on a project as its team does: edit, delete, add code to the example, add a dependency, lock."""
    project.edit(f"{PACKAGE}/config.py", "^DIFFERENT_CHARACTERS = 10$", "DIFFERENT_CHARACTERS = 12")
    project.edit(f"{PACKAGE}/config.py", "^(    LOG_LEVEL: .*)$", r'\1\n    GREETING: str = "Hello"')
    project.write(f"{PACKAGE}/catalog/views.py", VIEW)
    project.write("tests/catalog/test_views.py", TEST)
    project.edit("pyproject.toml", "^(    # Yours from here on:.*)$", r'\1\n    "tzdata==2026.2",')
    project.edit("README.md", "^## Start$", "We sell blue things.\n\n## Start")
    (project.folder / "tests" / "catalog" / "test_plans.py").unlink()
    project.write("uv.lock", LOCK)
    project.commit("Work")


# --- ways to update --------------------------------------------------------------------------------------------------


@dataclass
class Cruft:
    """cruft alone, always in the same clone."""

    upstream: Repository
    project: Repository
    bin: Path

    def begin(self) -> None:
        """Make the project."""
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
        """Take over the newest version."""
        self.project.run(CRUFT, "check", fails=True)
        self.project.run(CRUFT, "update", "--skip-apply-ask")
        self.project.run(CRUFT, "check")

    def answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        answers = json.dumps({name: value})
        self.project.run(CRUFT, "update", "--skip-apply-ask", "--variables-to-update", answers)


@dataclass
class Make(Cruft):
    """The project's own verbs, each time in another clone, which has nothing but what was pushed."""

    def make(self, verb: str, *arguments: str, fails: bool = False) -> str:
        """Run a verb of the project with the programs of the shared environment."""
        return self.project.run("make", verb, f"BIN={self.bin}", *arguments, fails=fails)

    def begin(self) -> None:
        """Make the project by cookiecutter, and link it later."""
        command: list[str | Path] = [COOKIECUTTER, self.upstream.folder, "--no-input", "-o", self.project.folder.parent]
        self.upstream.run(*command, f"project_name={NAME}")
        self.project.commit("As rendered")
        assert "TEMPLATE=" in self.make("update", fails=True)
        self.make("outdated", f"TEMPLATE={self.upstream.folder}")
        self.project.commit("Follow the template")

    def update(self) -> None:
        """Take over the newest version."""
        move_to_another_clone(self.project)
        assert "make update" in self.make("outdated", fails=True)
        self.make("update")
        self.make("outdated")

    def answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        move_to_another_clone(self.project)
        self.make("update", f"ANSWERS={json.dumps({name: value})}")


@dataclass
class Git(Cruft):
    """git alone, word by word as docs/updating.md says."""

    def follow(self, start: str, more: str = "", *, fails: bool = False) -> None:
        """Do what the block says that starts so."""
        blocks = re.findall(r"(?ms)^```console\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"))
        (block,) = (block for block in blocks if block.startswith(start))
        block = block.replace("PATH-OR-URL", shlex.quote(str(self.upstream.folder))).replace(
            ".. --over", f"..{more} --over"
        )
        folder = self.project.folder.parent if block.startswith("cd ") else self.project.folder
        path = f"{COOKIECUTTER.parent}:{os.environ['PATH']}"
        Repository(folder, self.project.execute).run("bash", "-e", "-c", block, PATH=path, fails=fails)

    def begin(self) -> None:
        """Make the project, and its branch of renders."""
        command: list[str | Path] = [COOKIECUTTER, self.upstream.folder, "--no-input", "-o", self.project.folder.parent]
        self.upstream.run(*command, f"project_name={NAME}")
        self.follow("cd blue-shop\ngit init")

    def update(self) -> None:
        """Take over the newest version; the second changes what the team has deleted."""
        conflicts = '"9.1.0"' in self.upstream.read("cookiecutter.json")
        self.follow("git worktree add", fails=conflicts)
        if conflicts:
            self.project.run("git", "rm", "--quiet", "tests/catalog/test_plans.py")
            self.project.commit("Merged")
            self.project.run("git", "worktree", "remove", "../update/blue-shop")

    def answer(self, name: str, value: Value) -> None:
        """Change an answer."""
        self.follow("git worktree add", f" {name}={as_key(value)}")


@pytest.mark.parametrize("way", [Cruft, Make, Git])
def test_a_project_follows_its_template(
    way: type[Cruft], upstream: Repository, tmp_path: Path, environment: Path, run: Run
) -> None:
    """Through all versions and an answer nothing conflicts, what is the team's stays, and its tests are green."""
    (tmp_path / "projects").mkdir()
    project = Repository(tmp_path / "projects" / "blue-shop", run)
    follower = way(upstream, project, environment)
    follower.begin()
    develop(project)
    secrets = project.read(".env")

    def take(step: Callable[[], None]) -> None:
        step()
        assert not leftovers(project)
        project.run("git", "add", "--all")
        project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Updated")

    for publish in (second, third, fourth):
        publish(upstream)
        take(follower.update)
    take(lambda: follower.answer(OPTION, value=True))

    # Files are those of a new render, save what the team deleted and added.
    code, said = bake(run, tmp_path / "new", f"project_name={NAME}", f"{OPTION}=yes", template=upstream.folder)
    assert code == 0, said
    rendered, found = files(tmp_path / "new" / "blue-shop"), files(project.folder)
    assert rendered.keys() - found.keys() == {"tests/catalog/test_plans.py"}
    assert found.keys() - rendered.keys() - {".cruft.json"} == {"uv.lock"}
    differing = {path for path in rendered.keys() & found.keys() if rendered[path] != found[path]}
    edited = {f"{PACKAGE}/config.py", f"{PACKAGE}/catalog/views.py", "tests/catalog/test_views.py"}
    assert differing == {"pyproject.toml", "README.md", *edited}

    # What both have edited has both.
    assert "GREETING" in project.read(f"{PACKAGE}/config.py")
    assert "= 12\n" in project.read(f"{PACKAGE}/config.py")
    assert "# What both modes use" in project.read(f"{PACKAGE}/config.py")
    assert VIEW in project.read(f"{PACKAGE}/catalog/views.py")
    assert "Commit what a block did" in project.read(f"{PACKAGE}/catalog/views.py")
    assert {"tzdata==2026.2", "werkzeug==9.3"} <= {*declared(project.folder / "pyproject.toml")}
    assert "We sell blue things." in project.read("README.md")
    assert f"{OPTION} | yes" in project.read("README.md")
    assert project.read(".env") == secrets
    assert project.read("uv.lock") == LOCK

    if way is Make:  # the others have the same files
        project.run(environment / "python", "-m", "pytest", "-p", "no:cacheprovider")


# --- conflicts, and what is none -------------------------------------------------------------------------------------


def make(project: Repository, *arguments: str, fails: bool = False) -> str:
    """Run a verb of the project, with the cruft of these tests."""
    return project.run("make", *arguments, f"CRUFT={CRUFT}", f"BIN={CRUFT.parent}", fails=fails)


def test_a_conflict_shows(upstream: Repository, tmp_path: Path) -> None:
    """Where both have changed a line it is told, and both are there; the rest is merged."""
    project = created(upstream, tmp_path / "projects")
    project.edit("pyproject.toml", '"werkzeug==[^"]+"', '"werkzeug==8.0"')
    project.commit("Work")
    second(upstream)
    said = make(project, "update", fails=True)
    assert "UU pyproject.toml" in said
    assert "Not all could be merged" in said
    assert "<<<<<<< HEAD" in project.read("pyproject.toml")
    assert leftovers(project)
    assert {"werkzeug==8.0", "werkzeug==9.1"} <= {*re.findall(r"werkzeug==[\d.]+", project.read("pyproject.toml"))}
    assert "What both of these modes" in project.read("src/my_service/config.py")


def test_why_there_is_a_verb(upstream: Repository, tmp_path: Path) -> None:
    """In a clone that lacks the template's former file cruft rejects what the verb merges, and exits with 0."""
    project = created(upstream, tmp_path / "projects")
    project.edit("pyproject.toml", "^(    # Yours from here on:.*)$", r'\1\n    "tzdata==2026.2",')
    project.commit("Work")
    second(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask")
    assert not leftovers(project)
    project.commit("Updated")
    move_to_another_clone(project)
    third(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask")
    assert leftovers(project) == "pyproject.toml.rej\n"
    project.run("git", "reset", "--quiet", "--hard")
    project.run("git", "clean", "--quiet", "--force", "-d")
    make(project, "update")
    assert not leftovers(project)
    assert {"tzdata==2026.2", "werkzeug==9.2"} <= {*declared(project.folder / "pyproject.toml")}


def test_a_removed_file_that_was_changed_shows(upstream: Repository, tmp_path: Path) -> None:
    """It stays as it was changed, and is told."""
    project = created(upstream, tmp_path / "projects")
    icon = "src/my_service/static/icon.svg"
    project.write(icon, "<!-- ours -->\n")
    project.commit("Work")
    second(upstream)
    third(upstream)
    said = make(project, "update", fails=True)
    assert f"UD {icon}" in said
    assert leftovers(project)
    assert "<!-- ours -->" in project.read(icon)
    assert "What both of these modes" in project.read("src/my_service/config.py")


def test_a_project_that_is_a_folder_of_a_repository(upstream: Repository, tmp_path: Path, run: Run) -> None:
    """What lies beside it stays as it is."""
    project = created(upstream, tmp_path / "projects")
    shutil.rmtree(project.folder / ".git")
    whole = Repository(project.folder.parent, run)
    whole.write("README.md", "Two services.\n")
    whole.commit("All of ours")
    second(upstream)
    (project.folder / "tests" / "catalog" / "test_plans.py").unlink()
    whole.commit("Work")
    make(project, "update")
    assert "What both of these modes" in project.read("src/my_service/config.py")
    changed = whole.run("git", "diff", "--name-only", "HEAD").split()
    assert {path.partition("/")[0] for path in changed} == {project.folder.name}
    assert not (project.folder / "tests" / "catalog" / "test_plans.py").exists()
    assert not leftovers(project)


def test_what_is_not_committed_is_safe(upstream: Repository, tmp_path: Path) -> None:
    """Nothing is merged into unfinished work."""
    project = created(upstream, tmp_path / "projects")
    second(upstream)
    project.write("README.md", "More.\n")
    before = files(project.folder)
    assert "Commit your work first" in make(project, "update", fails=True)
    assert files(project.folder) == before


def test_only_the_version_that_is_asked_for(upstream: Repository, tmp_path: Path) -> None:
    """The newest release by default, nothing that is not released, never an older one, none with an answer."""
    project = created(upstream, tmp_path / "projects")
    second(upstream)
    third(upstream)
    upstream.write(f"{IN_PROJECT}/README.md", "Unreleased.\n")
    upstream.commit("Unreleased")
    upstream.run("git", "tag", "v10.0.0-rc1")

    def update(*arguments: str) -> str:
        make(project, "update", *arguments)
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


@pytest.mark.parametrize("name", OPTIONS)
def test_an_answer_changes_later(name: str, upstream: Repository, tmp_path: Path, cookies: Cookies) -> None:
    """Each value in turn gives what a new render would, and the first one again what was there."""
    project = created(upstream, tmp_path / "projects")
    given = files(project.folder)
    secrets = project.read(".env")
    for value in [*OPTIONS[name][1:], OPTIONS[name][0]]:
        project.run(CRUFT, "update", "--skip-apply-ask", "--variables-to-update", json.dumps({name: value}))
        assert not leftovers(project)
        project.commit(f"{name}={value}")
        found = files(project.folder)
        found.pop(".cruft.json")
        assert found == files(cookies.bake(extra_context={name: value}, template=str(upstream.folder)).project_path)
    assert found == {path: file for path, file in given.items() if path != ".cruft.json"}
    assert project.read(".env") == secrets
    project.run(CRUFT, "diff", "--exit-code")


def test_two_renders_differ_where_updates_do_not_look(cookies: Cookies) -> None:
    """Else each update would change what nobody has changed."""
    one, other = (cookies.bake().project_path for _ in range(2))
    differing = {
        str(path.relative_to(one))
        for path in one.rglob("*")
        if path.is_file() and path.read_bytes() != (other / path.relative_to(one)).read_bytes()
    }
    settings = tomllib.loads((one / "pyproject.toml").read_text(encoding="utf-8"))
    assert differing == {*settings["tool"]["cruft"]["skip"]}


def test_a_text_with_braces(upstream: Repository, tmp_path: Path) -> None:
    """A limit of cruft: it fails, and has changed nothing. The project's own verb has no such limit."""
    project = created(
        upstream, tmp_path / "projects", "--extra-context", '{"description": "Fills {{ \'{{\' }} name }}"}'
    )
    assert "Fills {{ name }}" in project.read("README.md")
    second(upstream)
    project.run(CRUFT, "update", "--skip-apply-ask", fails=True)
    assert project.run("git", "status", "--porcelain") == ""
    make(project, "update")
    assert "Fills {{ name }}" in project.read("README.md")
    assert "What both of these modes" in project.read("src/my_service/config.py")
