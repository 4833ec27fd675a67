"""Tests of the recipes in docs/adding-an-option.md: each code block is applied to a copy of the template."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.core_tests import add_core_tests
from tests.matrix import DEFAULT, PROJECT, TEMPLATE, Answers, Combination
from tests.test_source import tracked_files

DOCUMENT = TEMPLATE / "docs" / "adding-an-option.md"
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`\n]+)`|"
    r"In `(?P<path>[^`\n]+)`, (?P<where>after|before|instead of) the line `(?P<anchor>[^\n]+)`):\n\n"
    r"```\w*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"]
OPTION = "standby"


@dataclass(frozen=True)
class Step:
    """One edit of a file: `text` becomes a new file, or is inserted at the line `anchor`."""

    path: str
    where: str
    anchor: str
    text: str

    def apply(self, template: Path) -> None:
        """Apply the edit to a template."""
        path = template / self.path
        if not self.anchor:
            assert not path.exists(), f"{self.path} exists"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if line.strip() == self.anchor.strip()]
        assert len(found) == 1, f"{self.path} has the line `{self.anchor}` {len(found)} times, not once"
        start = found[0] + (self.where == "after")
        lines[start : start + (self.where == "instead of")] = [self.text]
        path.write_text("".join(lines), encoding="utf-8")


def section(heading: str) -> str:
    """Return the text of a section of the document."""
    return DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def read_steps(heading: str) -> list[Step]:
    """Return the steps of a section."""
    return [
        Step(found["new"] or found["path"], found["where"] or "", found["anchor"] or "", found["text"])
        for found in STEP.finditer(section(heading))
    ]


RECIPES: dict[str, Answers] = {
    "A value: `cache=process`": {"cache": "process"},
    "A component: `standby`": {OPTION: True},
}
STEPS = read_steps("A component: `standby`")
# A recipe may edit this many existing files.
MAX_EDITED_FILES = 6
parametrize_recipes = pytest.mark.parametrize("heading", RECIPES, ids=["value", "component"])


@pytest.fixture
def extended_template(heading: str, tmp_path: Path) -> Path:
    """Return a copy of the whole template to which the steps of a recipe are applied."""
    copy = tmp_path / "template"
    for path in tracked_files():
        target = copy / path.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for step in read_steps(heading):
        step.apply(copy)
    return copy


@parametrize_recipes
def test_recipe_edits_at_most_six_files(heading: str) -> None:
    """The document states the number of edited files correctly."""
    steps = read_steps(heading)
    new = {step.path for step in steps if not step.anchor}
    edited = {step.path for step in steps} - new
    assert len(edited) <= MAX_EDITED_FILES
    assert f"**{NUMBERS[len(edited)]} files**" in " ".join(section(heading).split())


@parametrize_recipes
def test_every_code_block_is_a_step(heading: str) -> None:
    """A block whose introduction does not have the expected form is not ignored silently."""
    assert len(re.findall(r"(?m)^```\w+$", section(heading))) == len(read_steps(heading))


def render_project(template: Path, folder: Path, run: Run, *answers: str) -> Path:
    """Render a project from a template, and return its folder."""
    cookiecutter = Path(sys.executable).with_name("cookiecutter")
    result = run(cookiecutter, template, "--no-input", "-o", folder, *answers, cwd=folder.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    (project,) = folder.iterdir()
    return project


def read_texts(project: Path) -> dict[str, str]:
    """Return the text of each file by its path, except files with secrets and answers."""
    excluded = {".env", ".template.yaml", "docs/template-updates.md"}
    return {
        name: path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.is_file() and (name := path.relative_to(project).as_posix()) not in excluded
    }


@parametrize_recipes
def test_recipe_leaves_other_projects_unchanged(
    heading: str, extended_template: Path, tmp_path: Path, run: Run
) -> None:
    """A project without the new value is equal to a project of the original template."""
    assert heading
    before = render_project(TEMPLATE, tmp_path / "before", run)
    after = render_project(extended_template, tmp_path / "after", run)
    assert read_texts(after) == read_texts(before)


@parametrize_recipes
def test_project_with_option_passes_checks(
    heading: str, extended_template: Path, tmp_path: Path, venv_bin: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new files exist, and ruff, mypy and the test of the new module succeed."""
    answers = RECIPES[heading]
    project = render_project(
        extended_template, tmp_path / "out", run, *(f"{name}={value}" for name, value in answers.items())
    )
    new = [step.path for step in read_steps(heading) if not step.anchor]
    for path in new:
        if path.startswith(PROJECT.name):
            name = path.removeprefix(f"{PROJECT.name}/").replace("{{cookiecutter.package_name}}", "my_service")
            assert (project / name).exists()
    monkeypatch.setattr("tests.core_tests.TEMPLATE", extended_template)
    monkeypatch.setattr(
        "tests.core_tests.MODULES", extended_template / PROJECT.name / "src/{{cookiecutter.package_name}}/core"
    )
    monkeypatch.setattr("tests.core_tests.CORE_TESTS", extended_template / "tests" / "core")
    (test,) = (Path(path).relative_to("tests/core") for path in new if path.startswith("tests/core/"))
    monkeypatch.setattr("tests.core_tests.FILES", [test, *_shared_fixtures(extended_template)])
    for command in (["ruff", "format", "--check", "--no-cache"], ["ruff", "check", "--no-cache"], ["mypy"]):
        result = run(venv_bin / command[0], *command[1:], cwd=project)
        assert result.returncode == 0, result.stdout + result.stderr
    add_core_tests(project, Combination("extended", DEFAULT.options | answers))
    result = run(venv_bin / "python", "-m", "pytest", "-p", "no:cacheprovider", f"tests/core/{test}", cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr


def _shared_fixtures(template: Path) -> list[Path]:
    """Return the modules of tests/core that contain fixtures."""
    core = template / "tests" / "core"
    return [path.relative_to(core) for path in core.rglob("*.py") if not path.name.startswith("test_")]


@parametrize_recipes
def test_template_tests_cover_the_option(
    heading: str, extended_template: Path, venv_bin: Path, run: Run, request: pytest.FixtureRequest
) -> None:
    """The tests of the extended template succeed without a line about the new option."""
    assert heading
    assert venv_bin.exists()  # the fixture creates it once, and the tests of the copy reuse it
    cache = request.config.rootpath / str(request.config.getini("cache_dir"))
    command = [sys.executable, "-m", "pytest", "--numprocesses=0", "-o", f"cache_dir={cache}"]
    assert run("git", "-c", "init.defaultBranch=main", "init", "--quiet", cwd=extended_template).returncode == 0

    def check(*arguments: str, **variables: str) -> None:
        result = run(*command, *arguments, cwd=extended_template, COLUMNS="120", **variables)
        assert result.returncode == 0, result.stdout + result.stderr

    check("tests/test_docs.py", "-k", "not documented_urls and not find_their_lines", UPDATE_DOCS="1")
    check("tests/test_presets.py", "-k", "names or combination or replay", UPDATE_DOCS="1")
    check("tests/test_source.py", "tests/test_docs.py", "-k", "not documented_urls and not find_their_lines")
    check("tests/test_renders.py", "-k", "minimal")
