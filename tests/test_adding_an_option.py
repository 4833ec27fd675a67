"""The worked example of docs/adding-an-option.md, step by step as it is written there."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.answers import MANIFEST, PROJECT, TEMPLATE
from tests.conftest import Run
from tests.test_source import INDEX_FILES, TAGGED, tracked

DOCUMENT = TEMPLATE / "docs" / "adding-an-option.md"
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`\n]+)`|"
    r"In `(?P<path>[^`\n]+)`, (?P<where>after|before) the line `(?P<anchor>[^`\n]+)`):\n\n"
    r"```\w*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OPTION = "standby"
NUMBERS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
]


@dataclass(frozen=True)
class Step:
    """A text, and where it goes."""

    path: str
    where: str
    anchor: str
    text: str

    def apply(self, template: Path) -> None:
        """Do what the document says."""
        path = template / self.path
        if not self.anchor:
            assert not path.exists(), f"{self.path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if line.strip() == self.anchor.strip()]
        assert len(found) == 1, f"{self.path} has the line `{self.anchor}` {len(found)} times, not once"
        lines.insert(found[0] + (self.where == "after"), self.text)
        path.write_text("".join(lines), encoding="utf-8")


TEXT = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
STEPS = [
    Step(found["new"] or found["path"], found["where"] or "", found["anchor"] or "", found["text"])
    for found in STEP.finditer(TEXT)
]
NEW = {step.path for step in STEPS if not step.anchor}
TOUCHED = {step.path for step in STEPS}
# What a person who makes projects never sees: the template's own documents.
DOCUMENTS = {path for path in TOUCHED if path.startswith("docs/")}


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the whole template, in which every step is done."""
    copy = tmp_path / "template"
    for path in tracked():
        target = copy / path.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for step in STEPS:
        step.apply(copy)
    return copy


def test_it_says_how_much_is_touched() -> None:
    """The price of an option is counted, and stays within what the design allows."""
    assert STEPS
    prefix = f"{PROJECT.name}/"
    index = {path.removeprefix(prefix) for path in TOUCHED - NEW if path.startswith(prefix)}
    assert index <= set(INDEX_FILES)
    assert len(index) <= 3
    told = " ".join(TEXT.partition("\n## The example\n")[2].partition("\n### ")[0].split())
    assert f"**{NUMBERS[len(TOUCHED)]} files**" in told
    assert f"{NUMBERS[len(NEW)]} new" in told
    assert f"{NUMBERS[len(index)]} index files" in told
    assert {"cookiecutter.json", *NEW, *DOCUMENTS, *(prefix + path for path in index)} == TOUCHED


def test_every_block_is_a_step() -> None:
    """No block that holds a part of the example is overlooked for a slip in its introduction."""
    example = TEXT.partition("\n## The example")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?m)^```(?!console$)\w+$", example)
    assert len(blocks) == len(STEPS)


def test_what_a_value_took() -> None:
    """The files that the page lists for `mysql` are those that its tags and its lines of the table of files name."""
    section = TEXT.partition("\n## A new value: `mysql`\n")[2]
    patterns = re.findall(r"(?m)^\| `([^`]+)` \|", section.replace("`P/", f"`{PROJECT.name}/"))
    listed = {path.relative_to(TEMPLATE) for pattern in patterns for path in TEMPLATE.glob(pattern)}
    index = {path for path, text in TAGGED.items() if 'cookiecutter.database == "mysql"' in text}
    new = {
        path
        for pattern, wanted in MANIFEST["_files"].items()
        for path in PROJECT.glob(pattern)
        if wanted.get("database") == ["mysql"]
    } | {*(TEMPLATE / "templates").glob("*/*database-mysql.*")}
    assert len(listed) == len(patterns)
    assert listed == {path.relative_to(TEMPLATE) for path in {TEMPLATE / "cookiecutter.json", *new, *index}}
    assert len(index - {PROJECT / "pyproject.toml"}) <= 3
    told = " ".join(section.split())
    assert f"**{NUMBERS[len(listed)]} files**" in told
    assert f"{NUMBERS[len(new)]} new ones and {NUMBERS[len(index)]} index files" in told


def made(template: Path, folder: Path, run: Run, *answers: str) -> Path:
    """A project of a template."""
    cookiecutter = Path(sys.executable).with_name("cookiecutter")
    result = run(cookiecutter, template, "--no-input", "-o", folder, *answers, cwd=folder.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    (project,) = folder.iterdir()
    return project


def texts_of(project: Path) -> dict[str, str]:
    """All that a project says, save the secrets and the answers."""
    told = {".env", ".template.yaml", "README.md"}
    return {
        where: path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.is_file() and (where := path.relative_to(project).as_posix()) not in told
    }


def test_without_it(extended: Path, tmp_path: Path, run: Run) -> None:
    """Nothing speaks of it: the project is the one that it was."""
    before = made(TEMPLATE, tmp_path / "before", run)
    after = made(extended, tmp_path / "after", run)
    assert texts_of(after) == texts_of(before)


def test_with_it(extended: Path, tmp_path: Path, environment: Path, run: Run) -> None:
    """Its files are there, and the project passes its checks."""
    project = made(extended, tmp_path / "out", run, f"{OPTION}=yes")
    for path in NEW:
        rendered = path.removeprefix(f"{PROJECT.name}/").replace("{{cookiecutter.package_name}}", "my_service")
        assert (project / rendered).exists()
    assert OPTION in (project / ".template.yaml").read_text(encoding="utf-8"), "the answer is not recorded"
    assert any(OPTION in text.lower() for text in texts_of(project).values())
    for command in (
        ["ruff", "format", "--check", "--no-cache"],
        ["ruff", "check", "--no-cache"],
        ["python", "-m", "pytest", "-p", "no:cacheprovider", "--cov"],
    ):
        result = run(environment / command[0], *command[1:], cwd=project)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_template_proves_it(extended: Path, environment: Path, run: Run, request: pytest.FixtureRequest) -> None:
    """The option keeps the rules, and the template's tests prove it without a line about it."""
    assert environment.exists()  # made once, and found by the tests of the copy
    cache = request.config.rootpath / str(request.config.getini("cache_dir"))
    command = [sys.executable, "-m", "pytest", "--numprocesses=0", "-o", f"cache_dir={cache}"]
    assert run("git", "-c", "init.defaultBranch=main", "init", "--quiet", cwd=extended).returncode == 0

    def prove(*arguments: str, **variables: str) -> None:
        result = run(*command, *arguments, cwd=extended, COLUMNS="120", **variables)
        assert result.returncode == 0, result.stdout + result.stderr

    prove("tests/test_docs.py", UPDATE_DOCS="1")
    prove("tests/test_presets.py", "-k", "names or row or replay", UPDATE_DOCS="1")
    assert f"`{OPTION}`" in (extended / "README.md").read_text(encoding="utf-8")
    prove("tests/test_source.py", "tests/test_docs.py")
    prove("tests/test_renders.py", "-k", "minimal or full")
